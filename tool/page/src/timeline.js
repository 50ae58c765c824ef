/** Requests by time, stacked by what becomes of them. */

import uPlot from 'uplot';
import { KINDS } from './data.js';
import { byId, count, counted, moment } from './dom.js';
import { chip, kindsOf } from './kinds.js';
import { plainTable } from './table.js';
import { colour, onTheme } from './theme.js';

const HEIGHT = 220;
/** Most spans of which empty ones are drawn, too. */
const MAX_SPANS = 2000;

export function showTimeline({ head }) {
  const { seconds, spans, without_time: withoutTime } = head.timeline;
  const undated = withoutTime > 0 ? ` ${counted(withoutTime, 'request')} without a time.` : '';
  if (spans.length === 0) {
    byId('timeline-text').textContent = `No request has a time that could be read.${undated}`;
    byId('timeline-chart').hidden = true;
    byId('timeline-table').hidden = true;
    return;
  }
  const kinds = kindsOf(head.classes);
  byId('timeline-text').textContent = `Requests for each ${words(seconds)}, in UTC.${undated}`;
  byId('timeline-legend').append(...kinds.map((kind) => chip(kind)));
  const filled = fill(spans);
  draw(filled, seconds, kinds);
  const details = byId('timeline-table');
  details.addEventListener('toggle', () => {
    if (!details.open || details.childElementCount > 1) return;
    details.append(plainTable(`Requests for each ${words(seconds)}`, ['From (UTC)', ...kinds.map((kind) => KINDS[kind].name)],
      spans.map(([span, counts]) => [moment(span * seconds * 1000, 19), ...kinds.map((kind) => counts[kind])])));
  });
}

/** A length of time in words. */
function words(seconds) {
  for (const [unit, length] of [['week', 604800], ['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (seconds % length === 0) return seconds === length ? unit : `${seconds / length} ${unit}s`;
  }
  return seconds === 1 ? 'second' : `${seconds} seconds`;
}

/** The spans with the empty ones among them, if they are not too many. */
function fill(spans) {
  const [first, last] = [spans[0][0], spans.at(-1)[0]];
  if (last - first > MAX_SPANS) return spans;
  const counts = new Map(spans);
  const none = [0, 0, 0, 0, 0];
  return Array.from({ length: last - first + 1 }, (_, at) => [first + at, counts.get(first + at) ?? none]);
}

/** What stands at the axis of times: with the day where it is another than before. */
function momentsOf(_, times, __, ___, step) {
  let day;
  return times.map((time) => {
    const whole = new Date(time * 1000).toISOString();
    if (step >= 86400) return whole.slice(0, 10);
    const clock = whole.slice(11, step < 60 ? 19 : 16);
    const isNew = day !== whole.slice(0, 10);
    day = whole.slice(0, 10);
    return isNew ? `${clock}\n${day}` : clock;
  });
}

function draw(spans, seconds, kinds) {
  const place = byId('timeline-chart');
  const times = spans.map(([span]) => span * seconds);
  // The last kind is drawn first, as high as all together, and the others over it.
  const stacked = kinds.map((_, upTo) => spans.map(([, counts]) =>
    kinds.slice(0, upTo + 1).reduce((sum, kind) => sum + counts[kind], 0)));
  const bars = uPlot.paths.bars({ size: [0.92, 60], align: 1 });
  const series = kinds.map((kind) => ({
    label: KINDS[kind].name,
    fill: () => colour(`kind-${kind}`),
    stroke: () => colour(`kind-${kind}`),
    width: 0,
    paths: bars,
    points: { show: false },
  }));
  const axis = { stroke: () => colour('ink-2'), grid: { stroke: () => colour('line'), width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' };
  const readout = byId('timeline-readout');
  const tell = (plot) => {
    const at = plot.cursor.idx;
    readout.textContent = at === null || at === undefined ? '\u00a0'
      : `${moment(times[at] * 1000, 19)}: ${kinds.map((kind) => `${count(spans[at][1][kind])} ${KINDS[kind].name.toLowerCase()}`).join(', ')}`;
  };
  const plot = new uPlot({
    width: Math.max(place.clientWidth, 200),
    height: HEIGHT,
    // At the right there is room for half of a date.
    padding: [null, 36, null, null],
    tzDate: (time) => uPlot.tzDate(new Date(time * 1e3), 'Etc/UTC'),
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
    scales: {
      x: { range: (_, from, to) => (from === times[0] ? [from, Math.max(to, times.at(-1)) + seconds] : [from, to]) },
      y: { range: (_, __, most) => [0, Math.max(1, most * 1.05)] },
    },
    axes: [{ ...axis, values: momentsOf }, { ...axis, size: 56, values: (_, values) => values.map((value) => (Number.isInteger(value) ? count(value) : '')) }],
    series: [{}, ...series.reverse()],
    hooks: { setCursor: [tell] },
  }, [times, ...stacked.reverse()], place);
  tell(plot);
  new ResizeObserver(() => plot.setSize({ width: Math.max(place.clientWidth, 200), height: HEIGHT })).observe(place);
  onTheme(() => plot.redraw(false));
}
