#!/bin/bash
# Who may what: the owner alone; with allow_other everybody reads what is no command and holds no captures; with group=G one group reads all that is listed. Commands stay the owner's,
# checked by the server itself, and who gave them stands in the audit log; who was refused, in the server's own.
. "$(dirname "$0")/lib.sh"
command -v setpriv >/dev/null || skip "setpriv is not installed"
[ "$(id -u)" = 0 ] || skip "other users need root"
slug one
echo '{"input":1,"output":"secret"}' >"$S/tune/one/captures.jsonl"
# a step that was made: what it learned from is what was captured
mkdir -p "$S/tune/one/jobs/1"
echo '{"job":1,"state":"done","ts":"2031-02-03T04:05:06.007Z","verb":"step","outcome":"ok","elapsed":1}' >"$S/tune/one/jobs.jsonl"
echo '{"prompt":"secret"}' >"$S/tune/one/jobs/1/rows.jsonl"
chmod 755 "$T"
stranger() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
member() { setpriv --reuid 65533 --regid 65533 --groups 4242 "$@"; }
primary() { setpriv --reuid 65532 --regid 4242 --clear-groups "$@"; }
errno_of() { python3 -c "
import errno, os, sys
try:
    fd = os.open(sys.argv[2], os.O_WRONLY if sys.argv[1] == 'w' else os.O_RDONLY)
    print('-' if sys.argv[1] == 'w' else os.read(fd, 100) and '-')
except OSError as e: print(errno.errorcode[e.errno])" "$@"; }
export -f errno_of
as() { local who=$1; shift; $who bash -c 'errno_of "$@"' - "$@"; }
listed=$("$KOLMFS" --names | awk -F'\t' '$1 !~ /\.\.\.|<n>|<name>|\/$/ && $3 !~ /not listed/ { sub("<slug>", "one", $1); print $1 }')
[ "$(wc -w <<<"$listed")" -ge 15 ] || die "kolmfs --names lists only: $listed"

# nobody else
start
for f in version one/HEAD one/ctl; do same "a stranger, $f" EACCES "$(as stranger r "$M/$f")"; done
no stranger ls "$M"
stop

# everybody reads, but not what is written
start "$S" "$M" -o allow_other
for f in $listed; do
	case $f in
	*ctl | */run | */captures.jsonl | */tune-config.json) same "allow_other: $f" EACCES "$(as stranger r "$M/$f")" ;;
	*) case $(as stranger r "$M/$f") in - | '' | "b''") ;; *) fail "allow_other: $f: $(as stranger r "$M/$f")" ;; esac ;;
	esac
	same "allow_other: writing $f" EACCES "$(as stranger w "$M/$f")"
done
same "allow_other: the rows of a step" EACCES "$(as stranger r "$M/one/jobs/1/rows.jsonl")"
same "allow_other: what it said of itself" - "$(as stranger r "$M/one/jobs/1/state")"
same "mode of HEAD" 444 "$(stat -c %a "$M/one/HEAD")"
same "mode of captures.jsonl" 600 "$(stat -c %a "$M/one/captures.jsonl")"
ok stranger ls "$M/one/revisions/v1"
no stranger mv "$M/one/head.prev" "$M/one/HEAD"
no stranger truncate -s 0 "$M/one/ctl"
same "HEAD after all that" v1 "$(cat "$M/one/HEAD")"
stop

# one group reads all that is listed; the rest see nothing
start "$S" "$M" -o allow_other,group=4242
for f in $listed; do
	for who in member primary; do
		case $(as $who r "$M/$f") in - | '' | "b''") ;; *) fail "group, $who: $f: $(as $who r "$M/$f")" ;; esac
		same "group, $who: writing $f" EACCES "$(as $who w "$M/$f")"
	done
	same "group, a stranger: $f" EACCES "$(as stranger r "$M/$f")"
done
same "mode and group of captures.jsonl" "640 4242" "$(stat -c '%a %g' "$M/one/captures.jsonl")"
same "mode and group of a folder" "550 4242" "$(stat -c '%a %g' "$M/one")"
ok member ls "$M/one"
no stranger ls "$M"
no stranger stat "$M/one/HEAD"
has "the group reads the rows of a step" "$(member cat "$M/one/jobs/1/rows.jsonl")" secret
has "the group reads the captures" "$(member cat "$M/one/captures.jsonl")" secret
no member mv "$M/one/head.prev" "$M/one/HEAD"
same "HEAD after all that" v1 "$(cat "$M/one/HEAD")"
ok member timeout 10 grep -Rq secret "$M/one"

# the audit log: who changed something, with uid, pid and the command's name; who was refused, in the server's log alone
lines=$(wc -l <"$M/logs/tune.jsonl")
cp "$(command -v tee)" "$T/my-tee" && echo 'capture on' | "$T/my-tee" "$M/one/ctl" >/dev/null || fail "capture on"
python3 - "$M/one/ctl" "$M/logs/tune.jsonl" <<'END' || fail "the audit log"
import json, os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
os.write(fd, b'rollback\n')
rows = [json.loads(l) for l in open(sys.argv[2])]
assert rows[-1]['event'] == 'rolled_back' and rows[-1]['by'] == {'uid': 0, 'pid': os.getpid(), 'comm': open('/proc/self/comm').read().strip()}, rows[-1]
assert rows[-2]['event'] == 'captures_on' and rows[-2]['by']['comm'] == 'my-tee', rows[-2]
END
no bash -c 'echo frobnicate >"$0"' "$M/one/ctl"
same "refused ones are not in the audit log" $((lines + 2)) "$(wc -l <"$M/logs/tune.jsonl")"
has "but in the server's" "$(grep -a frobnicate "$T/log")" "refused one/: uid=0 pid="
has "a member who tried to command" "$(grep -a 'uid=65533' "$T/log" | grep -a ' one/' | head -n 1)" "EACCES"
stop

finish
