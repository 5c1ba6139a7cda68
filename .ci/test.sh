#!/usr/bin/env bash
# Runs the tests group by group, and prints the time of each group.
#
#   .ci/test.sh quick|all|long [GROUP]...
#
#   quick  what needs nothing but Rust and a usual Linux, and is done in two minutes
#   all    every test once
#   long   every test, with many rounds of chaos, kills and random cases, and the fuzz targets
#
# `unit` and `doc` are the tests beside the code, `schema` those of the JSON Schema of the frames; every other group is a module
# of tests/, except that `quick` runs all of them as `integration`. The output of each group is left in target/test-logs. Snapshots are compared, not written, unless INSTA_UPDATE says
# otherwise.
set -uo pipefail
cd "$(dirname "$0")/.."

# Tests that need a program from .ci/install-test-tools.sh or .ci/install-model.sh. `harness::installed` refuses to find such
# a program in the quick lane, so that a test that is missing here fails there.
external=(
  attackers::page::
  benches::reports_ratios
  browser::
  clients::
  clock::
  conformance::
  knowledge::real_embeddings::
  metrics::prometheus::
  provider::real_model::
  proxies::
  quality::reference::
)
# Tests whose subject is long: many rounds, or deadlines that cannot be shortened.
slow=(
  attackers::documents::
  chaos::
  load::
  program::backup::
  program::pauses::
  program::slow_readers::
  reliability::drain::
  reliability::slow_reader::
  survival::
)

lane=${1:-}
case "$lane" in
  quick) export SWITCHBOARD_TEST_LANE=quick ;;
  all) ;;
  long)
    export SWITCHBOARD_CHAOS_ROUNDS=${SWITCHBOARD_CHAOS_ROUNDS:-40}
    export SWITCHBOARD_SURVIVAL_ROUNDS=${SWITCHBOARD_SURVIVAL_ROUNDS:-100}
    export PROPTEST_CASES=${PROPTEST_CASES:-20000}
    ;;
  *)
    echo "usage: $0 quick|all|long [GROUP]..." >&2
    exit 2
    ;;
esac
shift
wanted=("$@")

export INSTA_UPDATE=${INSTA_UPDATE:-no}
# Most tests wait for a server more than they compute. None in the quick lane measures.
threads_per_core=2
[ "$lane" = quick ] && threads_per_core=4
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * threads_per_core))}
cargo=${CARGO:-cargo}
logs=target/test-logs
mkdir -p "$logs"
failed=()

# Whether a test's name begins with one of these prefixes.
begins_with() {
  local name=$1 prefix
  shift
  for prefix in "$@"; do
    [[ $name == "$prefix"* ]] && return 0
  done
  return 1
}

is_wanted() {
  local group
  [ "${#wanted[@]}" -eq 0 ] && return 0
  for group in "${wanted[@]}"; do
    [ "$group" = "$1" ] && return 0
  done
  return 1
}

# Runs a command as a group, and prints its time and how many tests it ran.
run_group() {
  local group=$1 log="$logs/$1.log" began took status tests
  shift
  printf '%-14s ' "$group"
  began=$(date +%s%N)
  "$@" >"$log" 2>&1
  status=$?
  took=$((($(date +%s%N) - began) / 100000000))
  tests=$(sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed;.*/\1 \2/p' "$log" | awk '{n += $1 + $2} END {print n + 0}')
  printf '%5d tests %6d.%d s' "$tests" $((took / 10)) $((took % 10))
  if [ "$status" -eq 0 ]; then
    printf '\n'
  else
    printf '  FAILED\n'
    failed+=("$group")
    cat "$log"
  fi
  ran=$tests
}

begin=$SECONDS
printf '%-14s ' build
$cargo test --locked --workspace --no-run >"$logs/build.log" 2>&1 || { cat "$logs/build.log"; exit 1; }
printf '%20d.0 s\n' $((SECONDS - begin))
began=$SECONDS

listed=$($cargo test --locked --quiet --test tests -- --list --format terse) || exit 1
mapfile -t names < <(sed -n 's/: test$//p' <<<"$listed")
left_out=0
declare -A of_group=()
groups=()
for name in "${names[@]}"; do
  if [ "$lane" = quick ] && begins_with "$name" "${external[@]}" "${slow[@]}"; then
    left_out=$((left_out + 1))
    continue
  fi
  group=${name%%::*}
  # One after the other, the groups would leave the processor idle half of the time.
  [ "$lane" = quick ] && [ "${#wanted[@]}" -eq 0 ] && group=integration
  [ -n "${of_group[$group]:-}" ] || groups+=("$group")
  of_group[$group]+=" $name"
done

is_wanted unit && run_group unit $cargo test --locked --workspace --lib --bins
if [ "$lane" != quick ] && is_wanted doc; then
  run_group doc $cargo test --locked --workspace --doc
fi
# In a command of its own: with the feature, `cargo test --workspace` would build the server a second time.
if [ "$lane" != quick ] && is_wanted schema; then
  run_group schema $cargo test --locked -p switchboard-protocol --features schemars --test schema
fi
for group in "${groups[@]}"; do
  is_wanted "$group" || continue
  read -ra tests <<<"${of_group[$group]}"
  threads=$RUST_TEST_THREADS
  # The pages are measured: browsers that run at the same time would measure each other.
  [ "$group" = browser ] && threads=1
  run_group "$group" env RUST_TEST_THREADS="$threads" $cargo test --locked --test tests -- --exact "${tests[@]}"
  if [ "$ran" -ne "${#tests[@]}" ]; then
    echo "error: $group has ${#tests[@]} tests, and $ran ran" >&2
    failed+=("$group")
  fi
done

if [ "$lane" = long ] && is_wanted fuzz; then
  # libFuzzer needs a nightly compiler; proptest has run the same parsers above.
  if $cargo +nightly fuzz --version >/dev/null 2>&1; then
    for target in client_frame:65536 subprotocols:4096; do
      run_group "fuzz-${target%:*}" $cargo +nightly fuzz run "${target%:*}" -- -max_len="${target#*:}" -max_total_time=600
    done
  else
    echo "error: fuzzing needs a nightly compiler and cargo-fuzz: cargo install cargo-fuzz" >&2
    failed+=(fuzz)
  fi
fi

printf '%-14s %20d.0 s\n' total $((SECONDS - began))
[ "$left_out" -eq 0 ] || echo "left out: $left_out tests that are slow or need installed programs; make test runs them"
if [ "${#failed[@]}" -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
