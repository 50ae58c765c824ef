#!/usr/bin/env bash
# Sends a mixture of requests through the local set-up, so that Prometheus and Grafana have something to show.
# `envoy/try.sh --help` explains it.
set -euo pipefail

# The sidecar in REGISTRY_ONLY, which leads to the gateway: of docker-compose.yaml, and of `./build.sh demo --keep`.
url=http://127.0.0.1:15002
rounds=
pause=1

# What a round sends, by the policy of gateway.yaml: how often, the status that must come, the method, the host, the path,
# and what decides.
readonly ROUND='
6 301 GET allowed.example / allowed by rule shop-to-allowed
2 301 DELETE allowed.example /basket allowed, and would be refused by rule no-deletes (dry run)
2 403 GET allowed.example /legacy/users refused by rule no-legacy-api
1 403 GET allowed.example /admin refused by default: no rule allows this path
3 403 GET denied.example / refused by default: no rule allows this host
1 403 GET allowed.example:99999 / refused as malformed: no such port
'

print_help() {
  cat <<HELP
envoy/try.sh [--url URL] [--rounds N] [--pause SECONDS]

Sends rounds of 15 requests through the local set-up, and says what came. Start that first, with one of

  docker-compose -f envoy/docker-compose.yaml up     (Grafana: http://127.0.0.1:3000, Prometheus: http://127.0.0.1:9090)
  ./build.sh demo --keep

  --url URL         where to send them; default $url
                    http://127.0.0.1:15011 is the gateway of the demo itself
  --rounds N        ends after so many rounds; default: goes on until Ctrl-C
  --pause SECONDS   how long it waits after each round; default $pause
HELP
}

main() {
  while (($# > 0)); do
    case $1 in
      --url) url=$(value "$@") ;;
      --rounds) rounds=$(number "$@") ;;
      --pause) pause=$(number "$@") ;;
      -h | --help)
        print_help
        return
        ;;
      *) fail "unknown argument \`$1\`; \`envoy/try.sh --help\` lists them" ;;
    esac
    shift 2
  done
  command -v curl >/dev/null || fail "curl is missing; install: curl"
  local round=0 is_stopped=
  trap 'is_stopped=yes' INT TERM
  while [[ -z $is_stopped && $round != "$rounds" ]]; do
    send_round
    round=$((round + 1))
    [[ $round == "$rounds" ]] || sleep "$pause" || true
  done
  echo "$round rounds to $url, each with"
  sed -n 's/^\([0-9]\) \([0-9]*\) \([^ ]* [^ ]* [^ ]*\) \(.*\)/  \1 x \2  \3: \4/p' <<<"$ROUND"
}

send_round() {
  local count status method host path meaning
  while read -r count status method host path meaning; do
    [[ -n $count ]] || continue
    while ((count-- > 0)); do
      send "$status" "$method" "$host" "$path" "$meaning"
    done
  done <<<"$ROUND"
}

send() {
  local expected=$1 method=$2 host=$3 path=$4 meaning=$5 status code=0
  status=$(curl --silent --output /dev/null --max-time 10 --write-out '%{http_code}' \
    --request "$method" --header "host: $host" "${url%/}$path") || code=$?
  case $code in
    0) ;;
    3 | 6) fail "\`$url\` is no URL that curl can ask; give one such as http://127.0.0.1:15002" ;;
    7) fail "nothing listens at $url: start \`docker-compose -f envoy/docker-compose.yaml up\` or \`./build.sh demo --keep\` first" ;;
    28) fail "no answer within 10 seconds from $url" ;;
    # Ctrl-C reaches curl as well.
    130 | 143) return ;;
    *) [[ -n $is_stopped ]] || fail "curl ends with code $code at $url" ;;
  esac
  [[ -n $is_stopped || $status == "$expected" ]] ||
    fail "$method $host$path: $status came, and $expected was expected ($meaning); is the set-up at $url the shipped one, and up?"
}

value() {
  (($# > 1)) || fail "\`$1\` needs a value"
  echo "$2"
}

number() {
  [[ ${2-} =~ ^[0-9]+$ ]] || fail "\`$1\` needs a whole number"
  echo "$2"
}

fail() {
  echo "try.sh: $1" >&2
  exit 1
}

main "$@"
