#!/bin/bash
# A server's life: readiness, one per store, one per mountpoint, a dead server's mount healed, an end that leaves nothing (BAD-INPUTS K08-K10, K17).
. "$(dirname "$0")/lib.sh"
slug one
mkdir -m 700 "$T/store2"
mkdir "$T/mnt2"
refused() { # STATUS PART STORE MOUNTPOINT [OPTION...]
	local want=$1 part=$2 said rc
	shift 2
	said=$("$KOLMFS" "${@:3}" "$1" "$2" 2>&1)
	rc=$?
	same "exit status of kolmfs $*" "$want" "$rc"
	has "what kolmfs $* said" "$said" "$part"
}

# it returns when the mount answers, not before
for i in 1 2 3 4 5; do
	start
	same "the root answers at once ($i)" v1 "$(cat "$M/one/HEAD")"
	stop
	no mountpoint -q "$M"
done

start
refused 4 "store is in use by process $(server_pid)" "$S" "$T/mnt2"   # K08
refused 4 "$M" "$T/store2" "$M"                                      # K10: mounted already
mkdir "$T/full" && touch "$T/full/x"
refused 4 "$T/full" "$T/store2" "$T/full"
refused 4 "$T/none' is not there; mkdir -p it" "$T/store2" "$T/none"
refused 4 "cannot find the folder of \"$T/none/below\": No such file or directory" "$T/store2" "$T/none/below"
refused 4 "$T/full/x" "$T/store2" "$T/full/x"
mkdir "$T/store2/in"
refused 1 "must not lie in each other" "$T/store2" "$T/store2/in"
mkdir -p "$T/outer/store"
refused 1 "must not lie in each other" "$T/outer/store" "$T/outer"
refused 1 "unknown mount option" "$T/store2" "$T/mnt2" -o frobnicate
same "the first one still serves" v1 "$(cat "$M/one/HEAD")"
no mountpoint -q "$T/mnt2"

# as mount(8) calls it
"$KOLMFS" "$T/store2" "$T/mnt2" -o rw,nosuid,nodev,noauto,user || fail "mount options"
same "its type" "fuse.kolmfs" "$(awk -v at="$T/mnt2" '$2 == at { print $3 }' /proc/mounts)"
same "its source" "$T/store2" "$(awk -v at="$T/mnt2" '$2 == at { print $1 }' /proc/mounts)"
echo shutdown >"$T/mnt2/ctl" || fail shutdown
soon bash -c '! mountpoint -q "$1"' - "$T/mnt2"

# others see nothing; with allow_other they may read what is no command and holds no captures
chmod 755 "$T"
other() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
if command -v setpriv >/dev/null; then
	no other cat "$M/version"
	"$KOLMFS" -o allow_other "$T/store2" "$T/mnt2" || fail "allow_other"
	has "another user reads" "$(other cat "$T/mnt2/version")" "kolmfs"
	no other cat "$T/mnt2/ctl"
	no other bash -c 'echo shutdown >"$1"' - "$T/mnt2/ctl"
	stop "$T/mnt2"
else
	echo "ran: not as another user: setpriv is not installed"
fi

# killed: its spawner unmounts, the next start is fine, nobody hangs
pid=$(server_pid)
exec 4<"$M/one/HEAD"
kill -KILL "$pid"
soon bash -c '! grep -q " $1 " /proc/mounts' - "$M"
has "an open file of a dead server" "$(timeout 5 cat <&4 2>&1)" "Transport endpoint is not connected"
exec 4<&-
start
same "after a kill" v1 "$(cat "$M/one/HEAD")"

# killed while it changes files and touches them for inotify, so that a thread of it waits in its own mount, and while its spawner is inside the first status' canary; also when the
# mount was taken away before, and no path leads to it any more: everything ends
threads() { ls "/proc/$1/task" 2>/dev/null | wc -l; }
for how in mounted detached; do
	pid=$(server_pid)
	cat "$M/one/HEAD" "$M/one/status" >/dev/null 2>&1 &
	(while echo rollback >"$M/one/ctl"; do :; done) 2>/dev/null &
	sleep 0.1
	[ $how = mounted ] || umount -l "$M"
	kill -KILL "$pid"
	soon eval '[ $(threads '"$pid"') -le 1 ]' # a zombie has one
	wait
	soon bash -c '! grep -q " $1 " /proc/mounts' - "$M"
	start
done

# killed together with its spawner: a stale mount is left, and healed by the next start (K09)
pid=$(server_pid)
spawner=$(pgrep -P "$pid" | head -n 1)
[ -n "$spawner" ] || fail "the server has no spawner"
kill -STOP $spawner # it must not clean up
kill -KILL "$pid"
gone "$pid"
kill -KILL $spawner
gone "$spawner"
has "a stale mount" "$(stat "$M" 2>&1)" "Transport endpoint is not connected"
start
has "healed" "v0 v1" "$(cat "$M/one/HEAD")"

# an unmount from outside ends the server; while files are open it is refused (K17)
exec 4<"$M/one/captures.jsonl"
no umount "$M"
exec 4<&-
pid=$(server_pid)
umount "$M" || fail "umount"
gone "$pid" || fail "the server outlives its mount"

# who mounts again at once waits for the end of the server before, also one that is still looking at its walls; and fsck does
for how in umount shutdown fsck; do
	start
	cat "$M/one/status" >/dev/null &
	if [ $how = shutdown ]; then echo shutdown >"$M/ctl"; else umount "$M" 2>/dev/null || { wait; umount "$M"; }; fi
	[ $how = fsck ] && { "$BUILD/bin/kolm" --store "$S" fsck --repair >"$T/fsck" 2>&1 || fail "fsck --repair at once: $(cat "$T/fsck")"; }
	start
	wait
	has "a start right after the end by $how" "v0 v1" "$(cat "$M/one/HEAD")"
	stop
done

# SIGTERM while readers wait and files are open: everybody gets an answer, the place is free
start
pid=$(server_pid)
cat "$M/one/follow" >"$T/follow" 2>&1 &
reader=$!
exec 4<"$M/one/HEAD"
soon holds $reader /one/follow
kill -TERM "$pid"
gone "$pid" || fail "SIGTERM does not end it"
wait $reader
same "a parked reader sees the end" 0 $?
exec 4<&-
no mountpoint -q "$M"
# SIGTERM in the middle of head changes: one is done or it is not, never half (K17)
for pause in 0.01 0.05 0.15; do
	start
	pid=$(server_pid)
	(while echo rollback >"$M/one/ctl"; do echo >>"$T/acked"; done) 2>/dev/null &
	sleep $pause
	kill -TERM "$pid"
	gone "$pid" || fail "SIGTERM during rollbacks does not end it"
	wait
	has "HEAD and head.prev after SIGTERM" "v0 v1 v0" "$(cat "$S/tune/one/HEAD") $(cat "$S/tune/one/head.prev")"
	same "what lies about after SIGTERM" "" "$(cd "$S/tune/one" && ls -A | grep -E 'next|tmp')"
done
# SIGTERM, and an unmount from outside while the thread that tells the kernel of changes is in the middle of it: nothing is freed before it has ended
if command -v strace >/dev/null; then
	start
	pid=$(server_pid)
	python3 -c 'import select, sys
f = open(sys.argv[1])
f.read()
p = select.poll()
p.register(f, select.POLLPRI)
while True: p.poll(); f.seek(0); f.read()' "$M/one/status" &
	reader=$!
	soon holds $reader /one/status
	teller=$(grep -l '^kolmfs-notify$' "/proc/$pid/task/"*/comm | cut -d/ -f5)
	strace -p "$teller" -o "$T/told" -e trace=writev -e inject=writev:delay_enter=1500000 2>"$T/strace" &
	soon grep -q attached "$T/strace"
	echo "capture on" >"$M/one/ctl" || fail "capture on"
	sleep 0.3
	kill -TERM "$pid"
	sleep 0.1
	kill -KILL $reader
	umount -l "$M" 2>/dev/null
	gone "$pid" || fail "SIGTERM and umount do not end it"
	wait 2>/dev/null
	has "the last word to the kernel" "$(cat "$T/told")" "(DELAYED)"
	grep -q '= ?' "$T/told" && fail "its end did not wait for: $(cat "$T/told")"
else
	echo "ran: no unmount while the kernel is told: strace is not installed"
fi
[ "$(grep -c '"event":"rolled_back"' "$S/logs/tune.jsonl")" -ge "$(wc -l <"$T/acked")" ] || fail "fewer rollbacks in the log than were acknowledged"
[ -z "$(pgrep -f "$T/store" | grep -v $$)" ] || fail "a process is left: $(pgrep -af "$T/store")"
finish
