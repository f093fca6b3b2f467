# a seeded twentieth of the fault suites: what make check-fault does at length
set -e
cd "$(dirname "$0")/../.."
export PART=20
all=inject
# inject.c brings its own malloc and system calls, as the sanitizers do; and processes that are made to be killed free nothing
case $BUILD in *-san) all= ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 ;; esac
for t in $all kill-points appenders power-cuts race watch-sim; do
	rc=0
	out=$(bash "tests/fault/$t.sh" 2>&1) || rc=$?
	[ $rc -eq 0 ] || [ $rc -eq 77 ] || { echo "$t: exit $rc"; echo "$out" | tail -n 40; exit 1; }
	echo "ran: $(echo "$out" | tail -n 1)"
done
