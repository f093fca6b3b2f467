#!/bin/bash
# Where the kernel tells nobody of changes (here: no inotify is left), what other processes did is seen at once by who asks, and told when the server looks, once a second.
unshare -Urm true || { echo "no user namespaces"; exit 77; }
[ -n "$BLIND_NS" ] || exec unshare -Urm env BLIND_NS=1 bash "$0"
. "$(dirname "$0")/lib.sh"
echo 0 >/proc/sys/user/max_inotify_instances || fail "the limit cannot be set"
slug one
slug two
start
soon grep -q '^walls ' "$M/status"
[ -z "$(find "/proc/$(server_pid)/fd" -lname '*inotify*')" ] || fail "the server has an inotify"
head_of() { awk '$1 == "head" { print $2 }' "$M/one/status"; }
was=$(head_of)
other=$(cat "$S/tune/one/head.prev")
for want in "$other" "$was"; do
	python3 - "$M/one/status" "$M/one/HEAD" "$BUILD/bin/kolm" "$S" <<'END' || fail "told of the change to $want"
import os, select, subprocess, sys
*files, kolm, store = sys.argv[1:]
po = select.poll()
fds = [os.open(f, os.O_RDONLY) for f in files]
for fd in fds:
    os.read(fd, 65536)
    po.register(fd, select.POLLPRI)
assert not po.poll(1500)
subprocess.run([kolm, 'tune', 'rollback', 'one'], env=dict(os.environ, KOLM_HOME=store), check=True, stdout=subprocess.DEVNULL)
assert open(files[0]).read().split('\nhead ')[1].split('\n')[0] == open(files[1]).read().strip()
assert po.poll(3000)
END
	same "head of status" "$want" "$(head_of)"
done
# a row nobody wrote down in the log, and rows taken away
echo '{"input":1,"output":1}' >>"$S/tune/two/captures.jsonl"
has "rows of status" "$(cat "$M/two/status")" "captures 1"
sleep 1.5
: >"$S/tune/two/captures.jsonl"
replaced() { grep captures_replaced "$S/logs/tune.jsonl" | grep -q '"slug":"two"'; }
soon replaced
has "no rows" "$(cat "$M/two/status")" "captures 0"
# and a slug that comes
slug three
soon test -e "$M/three/status"
stop
finish
