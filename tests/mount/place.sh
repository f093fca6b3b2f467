#!/bin/bash
# Where a server goes and how it is started: over the store itself, by mount(8) and fstab, under a service manager, by fusermount3; and what it refuses, in one sentence with its cure.
. "$(dirname "$0")/lib.sh"
slug one
mkdir -m 700 "$T/store2"
mkdir "$T/mnt2"
refused() { # STATUS PART ARGUMENT...
	local want=$1 part=$2 said rc
	shift 2
	said=$(timeout 20 "$KOLMFS" "$@" 2>&1)
	rc=$?
	same "exit status of kolmfs $*" "$want" "$rc"
	has "what kolmfs $* said" "$said" "$part"
	same "lines of what kolmfs $* said" 1 "$(grep -c . <<<"$said")"
}

# -o over: the synthetic tree at the store's own place, the store under it; unmounted, the store is there again
"$KOLMFS" -o over "$S" 2>>"$T/log" || die "-o over: $(cat "$T/log")"
same "over: HEAD" v1 "$(cat "$S/one/HEAD")"
same "over: the store's own layout" v1 "$(cat "$S/tune/one/HEAD")"
echo rollback >"$S/one/ctl" || fail "over: rollback"
same "over: rolled back" v0 "$(cat "$S/one/HEAD")"
echo '{"input":1,"output":2}' >>"$S/tune/one/captures.jsonl" || fail "over: append"
refused 4 "is a mount of kolmfs already; use it, or unmount it first" "$S" "$T/mnt2"
refused 4 "is a mount of kolmfs already" -o over "$S"
stop "$S"
same "under it: HEAD" v0 "$(cat "$S/tune/one/HEAD")"
same "under it: the capture" 1 "$(grep -c '"output":2' "$S/tune/one/captures.jsonl")"
# killed with its spawner, it leaves a stale mount over the store: healed
"$KOLMFS" -o over "$S" "$S" 2>>"$T/log" || die "-o over STORE STORE"
pid=$(server_pid "$S")
spawner=$(pgrep -P "$pid" | head -n 1)
kill -STOP "$spawner" && kill -KILL "$pid" && gone "$pid"
kill -KILL "$spawner" && gone "$spawner"
has "a stale mount over the store" "$(stat "$S" 2>&1)" "Transport endpoint is not connected"
"$KOLMFS" -o over "$S" 2>>"$T/log" || fail "a stale mount over the store is not healed: $(tail -n 1 "$T/log")"
same "healed" v0 "$(cat "$S/one/HEAD")"
stop "$S"
refused 1 "leave the mountpoint" -o over "$S" "$T/mnt2"

# the two folders must be apart, both ways, and the same folder says what it takes
mkdir "$T/store2/in"
mkdir -p -m 700 "$T/outer/store"
refused 1 "choose another folder" "$T/store2" "$T/store2/in"   # mount inside the store
refused 1 "choose another folder" "$T/outer/store" "$T/outer"  # store inside the mount
refused 1 "-o over" "$T/store2" "$T/store2"
refused 1 "commands are writes" -o rw,ro "$T/store2" "$T/mnt2"
refused 1 "no group" -o allow_other,group=nosuchgroup "$T/store2" "$T/mnt2"
refused 1 "needs allow_other" -o group=0 "$T/store2" "$T/mnt2"
touch "$T/outer/x"
refused 4 "not empty; give an empty folder" "$T/store2" "$T/outer"
# a store below another server's mount
start
for below in "$M/store" "$M/one" "$M/one/revisions"; do
	refused 4 "\"$M\" is a mount of kolmfs already; use it, or unmount it first" "$below" "$T/mnt2"
done
no mountpoint -q "$T/mnt2"
stop

# K18: without /dev/fuse it says so, and what still works; in a mount namespace of its own
unshare -m bash -c 'umount /dev/fuse 2>/dev/null; d=$1; mkdir "$d/dev" && mount -t tmpfs none "$d/dev" && mount --bind "$d/dev" /dev && exec "$2" "$3" "$4"' - \
	"$T" "$KOLMFS" "$T/store2" "$T/mnt2" >"$T/out" 2>&1
same "K18 exit status" 3 $?
has "K18" "$(cat "$T/out")" "FUSE is not available: /dev/fuse: No such file or directory; the kolm command works without a mount"

# as mount(8) calls it, as fstab names it: it looks for the program in the system's own folders
cat >"$T/mount8.sh" <<'END'
set -e
mount -t tmpfs none /usr/local/bin
ln -s "$KOLMFS" /usr/local/bin/kolmfs
away() { # the server ends with its mount
	pid=$(awk '$1 == "pid" { print $2 }' "$T/mnt2/status")
	umount "$T/mnt2"
	for i in $(seq 100); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.05; done
	return 1
}
timeout 20 mount -t fuse.kolmfs "$T/store2" "$T/mnt2" -o noatime,nofail,async,strictatime,X-mount.mkdir,x-systemd.automount
grep -q ^kolmfs "$T/mnt2/version"
grep -q "^$T/store2 $T/mnt2 fuse.kolmfs " /proc/mounts
away
echo "$T/store2 $T/mnt2 fuse.kolmfs noauto,user,x-systemd.automount,comment=k 0 0" >"$T/fstab"
timeout 20 mount -T "$T/fstab" "$T/mnt2"
grep -q ^kolmfs "$T/mnt2/version"
away
END
if [ -x /sbin/mount.fuse ] || [ -x /sbin/mount.fuse3 ]; then
	T=$T KOLMFS=$KOLMFS unshare -m bash -x "$T/mount8.sh" >"$T/out" 2>&1 || fail "mount -t fuse.kolmfs: exit $?: $(tail -n 5 "$T/out")"
else
	echo "ran: not by mount(8): mount.fuse is not installed"
fi

# a service manager is told, when the mount answers; and the server owns no socket afterwards but its spawner's
python3 - "$KOLMFS" "$T/store2" "$T/mnt2" "$T" <<'END' || fail "NOTIFY_SOCKET"
import os, signal, socket, subprocess, sys
kolmfs, store, mnt, t = sys.argv[1:]
for kind in (t + '/notify', '\0kolmfs-test-%d' % os.getpid()):
    so = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    so.bind(kind)
    so.settimeout(10)
    p = subprocess.Popen([kolmfs, '-f', store, mnt], env=dict(os.environ, NOTIFY_SOCKET=kind.replace('\0', '@')))
    got = so.recv(4096).decode().split('\n')
    assert 'READY=1' in got and 'MAINPID=%d' % p.pid in got, got
    assert open(mnt + '/version').read().startswith('kolmfs')
    socks = [f for f in os.listdir('/proc/%d/fd' % p.pid) if os.readlink('/proc/%d/fd/%s' % (p.pid, f)).startswith('socket:')]
    assert len(socks) == 1, socks
    p.send_signal(signal.SIGTERM)
    assert p.wait(20) == 0
END

# stopped for a while (check-fault: a minute): whoever asks waits, and is answered when it goes on
STOP_SEC=${STOP_SEC:-2}
start
pid=$(server_pid)
kill -STOP "$pid"
timeout $((STOP_SEC + 20)) cat "$M/one/HEAD" >"$T/out" 2>&1 &
reader=$!
sleep "$STOP_SEC"
[ -s "$T/out" ] && fail "a stopped server answered"
kill -CONT "$pid"
wait $reader || fail "a reader of a stopped server: $(cat "$T/out")"
same "answered afterwards" v0 "$(cat "$T/out")"
cat "$M/one/follow" >"$T/followed" 2>&1 &
follower=$!
soon holds $follower /one/follow
kill -STOP "$pid" && sleep 0.5 && kill -CONT "$pid"
echo 'capture on' >"$M/one/ctl"
soon grep -q captures_on "$T/followed"
kill $follower
# in the foreground it stays, and SIGINT ends it as ^C does
stop
python3 - "$KOLMFS" "$S" "$M" <<'END' || fail "SIGINT in the foreground"
import os, signal, subprocess, sys, time
p = subprocess.Popen(['%s' % sys.argv[1], '-f', *sys.argv[2:]])
while not os.path.exists(sys.argv[3] + '/version'): time.sleep(0.02)
p.send_signal(signal.SIGINT)
assert p.wait(20) == 0, p.returncode
END
no mountpoint -q "$M"

# a user of his own, by fusermount3: in a mount namespace where /dev/fuse is everybody's
chmod 755 "$T"
cat >"$T/user.sh" <<'END'
set -e
mkdir "$T/d" && mount -t tmpfs none "$T/d" && mknod -m 666 "$T/d/fuse" c 10 229 && mount --bind "$T/d/fuse" /dev/fuse
mkdir -m 700 "$T/ustore" "$T/umnt" && chown 65534:65534 "$T/ustore" "$T/umnt"
user() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
user "$KOLMFS" "$T/ustore" "$T/umnt"
user cat "$T/umnt/version"
grep -q "$T/umnt fuse.kolmfs" /proc/mounts
cat "$T/umnt/version" 2>/dev/null && echo "root reads it" # EACCES: without allow_other it is its owner's
pid=$(user awk '$1 == "pid" { print $2 }' "$T/umnt/status")
user sh -c 'echo shutdown >"$0/umnt/ctl"' "$T"
for i in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
! grep -q "$T/umnt" /proc/mounts && echo gone
END
if command -v setpriv >/dev/null && [ -u "$(readlink -f "$(command -v fusermount3)")" ]; then
	T=$T KOLMFS=$KOLMFS unshare -m bash "$T/user.sh" >"$T/out" 2>&1 || fail "by fusermount3: exit $?: $(cat "$T/out")"
	has "by fusermount3" "$(cat "$T/out")" "kolmfs"
	has "it unmounts by itself" "$(cat "$T/out")" "gone"
	no grep -q "root reads it" "$T/out"
else
	echo "ran: not as a plain user: no setpriv, or no fusermount3 that is setuid"
fi
finish
