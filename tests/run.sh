#!/usr/bin/env bash
# Runs a suite of tests outside the process against $PURLIN_BIN (default target/debug/purlin). Arguments after the suite's
# name go to it. Usage: run.sh {e2e|e2e-cluster|faults-short|faults|hostile|supply|console|cluster-short|cluster|conformance|sdk|serving|serving-cluster|serving-long|bench} [ARGUMENT...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
suite=${1:-}
shift || true
case $suite in e2e | e2e-cluster | faults-short | faults | hostile | supply | console | cluster-short | cluster | conformance | sdk | serving | serving-cluster | serving-long | bench) ;; *) sed -n 's/^# .*Usage: //p' "$0" >&2; exit 2 ;; esac
export PURLIN_BIN=${PURLIN_BIN:-$(cd .. && pwd)/target/debug/purlin}
[ -x "$PURLIN_BIN" ] || { echo "tests: $PURLIN_BIN is not there; run 'make build' or set PURLIN_BIN" >&2; exit 1; }
for tool in kubectl curl openssl; do
  command -v "$tool" >/dev/null || { echo "tests: '$tool' is needed and was not found on the PATH" >&2; exit 1; }
done
requirements=requirements.txt
# The browser's driver is large, and no other suite needs it.
[ "$suite" != console ] || requirements=console/requirements.txt
# So are the clients of models.
case $suite in serving | serving-cluster | serving-long) requirements=serving/requirements.txt ;; bench) requirements=bench/requirements.txt ;; esac
venv=$(../scripts/venv.sh "$requirements")
reports=${PURLIN_REPORTS:-../target/reports}
mkdir -p "$reports"
export PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
pytest() { "$venv/bin/python" -m pytest --junit-xml="$reports/$suite.xml" "$@"; }
case $suite in
  e2e) pytest e2e "$@" ;;
  e2e-cluster) pytest e2e --mode cluster "$@" ;;
  sdk) pytest sdk "$@" ;;
  serving | serving-cluster)
    [ "$suite" = serving ] || set -- --mode cluster "$@"
    serving/build.sh
    # Two clients that each bring the protocol's messages, which one process can have only once.
    failed=0
    pytest serving -m "not long" --ignore serving/test_kserve_client.py "$@" || failed=$?
    pytest serving/test_kserve_client.py --junit-xml="$reports/$suite-kserve.xml" "$@" || failed=$?
    exit "$failed"
    ;;
  serving-long) pytest serving/test_steady.py -m long -s "$@" ;;
  hostile) pytest hostile "$@" ;;
  console) pytest console "$@" ;;
  supply) supply/build.sh && pytest supply "$@" ;;
  faults-short) pytest faults -m "not long" "$@" ;;
  faults) pytest faults -m long -s "$@" ;;
  cluster-short) pytest cluster -m "not long" -s "$@" ;;
  cluster) pytest cluster -s "$@" ;;
  conformance) "$venv/bin/python" -m conformance.run "$reports" "$@" ;;
  bench) serving/build.sh && "$venv/bin/python" -m bench --json "$reports/bench.json" "$@" ;;
esac
