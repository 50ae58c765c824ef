/** The page of `egress-warden report`. */

import { read } from './data.js';
import { byId, el } from './dom.js';
import { Filter } from './filter.js';
import { startFlows } from './flows.js';
import { showAbout, showSummary } from './summary.js';
import { showUnused, startRefusals, startTables } from './tables.js';
import { startTheme } from './theme.js';
import { showTimeline } from './timeline.js';
import { startWhatIf } from './what_if.js';

async function start() {
  startTheme();
  const model = await read();
  const filter = new Filter(model);
  showSummary(model);
  if (model.head.requests === 0) hide('timeline', 'filter', 'flows', 'refusals', 'tables', 'unused');
  showTimeline(model);
  startFlows(model, filter);
  startRefusals(model, filter);
  startTables(model, filter);
  showUnused(model);
  startWhatIf(model);
  showAbout(model);
  filter.apply();
  // For tests, and for whoever waits.
  document.documentElement.dataset.ready = 'true';
}

/** Leaves out sections that have nothing to show, and the links to them. */
function hide(...sections) {
  for (const section of sections) {
    byId(section).hidden = true;
    document.querySelectorAll(`.sections a[href="#${section}"]`).forEach((link) => { link.hidden = true; });
  }
}

start().catch((error) => {
  byId('banners').append(el('p', { class: 'banner bad' }, `The page cannot be shown: ${error.message}`));
  throw error;
});
