#!/bin/bash
# The store's file system is full, limits the size of this server's files, or is read-only, from the start or all at once (BAD-INPUTS K01, K02, K03, K07, reliability.md 9.5): on a tmpfs and
# on a loop-mounted ext4, in a mount namespace of its own. Reads, status, queries and a rollback work; the rest is refused with its sentence, and nothing is half done.
[ -n "$FULL_NS" ] || exec unshare -m env FULL_NS=1 bash "$0"
. "$(dirname "$0")/lib.sh"
clean_full() {
	unmount_all
	umount -l "$S" "$T/btrfs" 2>/dev/null
	cleanup
}
trap clean_full EXIT
LINE='{"input":"c","output":"'$(printf '%08000d' 0)'"}'
SPACE="no space left; nothing was changed"

digest() { (cd "$S" && find . -type f ! -name .lock ! -name .reserve ! -path './logs/*' -exec sha256sum {} + | sort) | sha256sum; }
disk() { awk '$1 == "disk" { print $2 }' "$M/status"; }
# what changes nothing works: WHAT
serves() {
	same "$1: HEAD" "$HEAD" "$(cat "$M/one/HEAD")"
	has "$1: status" "$(cat "$M/one/status")" "head $HEAD"
	has "$1: a query" "$(cat "$M/rag/docs/query?q=refund")" "a.md"
	same "$1: a revision" 200000 "$(wc -c <"$M/one/revisions/v1/adapter_model.safetensors")"
	ok tar -C "$M" -cf /dev/null README version status one rag
}
# a row is refused with ERRNO and SENTENCE: WHAT ERRNO SENTENCE. Reading captures.jsonl reads rows; the sentence is in `error`
no_row() {
	same "$1: a row" "$2" "$(python3 -c 'import errno, os, sys
try: print(os.write(os.open(sys.argv[1], os.O_WRONLY), sys.argv[2].encode() + b"\n"))
except OSError as e: print(errno.errorcode[e.errno])' "$M/one/captures.jsonl" "$LINE")"
	has "$1: its sentence" "$(cat "$M/one/error")" "$3"
}
# every change is refused with ERRNO and SENTENCE, and the store keeps its bytes
refuses() { # WHAT ERRNO SENTENCE
	local before
	before=$(digest)
	no_row "$@"
	poke "$M/one/ctl" "$2" 'set gate.k_min 0.5\n' "$3"
	poke "$M/one/ctl" "$2" 'capture on\n' "$3"
	same "$1: the store" "$before" "$(digest)"
	same "$1: names left behind" "" "$(cd "$S" && find . -name '*.tmp.*')"
}
# not one byte more fits
fill() {
	local n size
	for size in 1048576 65536 4096 512 16; do
		for n in $(seq 100); do { head -c $size /dev/zero >>"$S/ballast.$size.$n"; } 2>/dev/null || break; done
	done
}
begin() {
	slug one
	HEAD=v1
	echo '{"input":"a","output":"b"}' >"$S/tune/one/captures.jsonl"
	mkdir -p "$T/docs"
	echo "our refund policy" >"$T/docs/a.md"
	start
	echo "index $T/docs name=docs" >"$M/rag/ctl" && timeout 20 cat "$M/rag/wait" >/dev/null || die "index"
	echo 'watch off' >"$M/one/ctl"
}

full_disk() { # WHAT
	begin
	same "$1: disk" ok "$(disk)"
	fill
	same "$1: disk, filled" full "$(disk)"
	serves "$1"
	refuses "$1" ENOSPC "$SPACE"
	# the reserve is what a rollback is written with, line and all
	[ -s "$S/.reserve" ] || fail "$1: no reserve before"
	echo rollback >"$M/one/ctl" || fail "$1: rollback: $(cat "$M/one/error")"
	HEAD=v0
	same "$1: head.prev after a rollback" v1 "$(cat "$M/one/head.prev")"
	has "$1: its line" "$(tail -n 1 "$S/logs/tune.jsonl")" '"event":"rolled_back"'
	same "$1: disk, after the rollback" full "$(disk)"
	serves "$1, rolled back"
	# a start on a full disk, and a second rollback from what is left of the reserve
	stop
	fill
	start
	serves "$1, started full"
	refuses "$1, started full" ENOSPC "$SPACE"
	same "$1: fsck" "" "$(KOLM_HOME=$S "$BUILD/bin/kolm" fsck 2>&1 | grep -iE 'damaged|broken|temporary')"
	# room again: everything works again
	rm "$S"/ballast*
	echo "$LINE" >>"$M/one/captures.jsonl" || fail "$1: a row with room again"
	echo 'capture on' >"$M/one/ctl" || fail "$1: capture on with room again"
	soon test "$(disk)" = ok
	stop
}

mount -t tmpfs -o size=8m,mode=700 none "$S" || die "tmpfs"
full_disk tmpfs

# K02: a limit of this server's files; the signal that comes with it does not end it
rm -rf "${S:?}"/*
slug one
for n in $(seq 40); do echo '{"input":"'"$n"'","output":"'"$(printf '%01000d' 0)"'"}'; done >"$S/tune/one/captures.jsonl"
size=$(wc -c <"$S/tune/one/captures.jsonl")
printf '%*s\n' $((45055 - size)) '' >>"$S/tune/one/captures.jsonl"
(ulimit -f 44 && exec "$KOLMFS" "$S" "$M" 2>>"$T/log") || die "it does not start with a file size limit"
before=$(digest)
no_row K02 EFBIG "$SPACE (file size limit)"
same "K02: the store" "$before" "$(digest)"
same "K02: it lives" v1 "$(cat "$M/one/HEAD")"
stop

# K03: read-only from the start
start
echo 'capture off' >"$M/one/ctl"
stop
mount -o remount,ro "$S" || die "remount"
start
HEAD=v1
same "K03: disk" read-only "$(disk)"
same "K03: HEAD" v1 "$(cat "$M/one/HEAD")"
no_row K03 EROFS "store is read-only"
poke "$M/one/ctl" EROFS 'capture on\n' "store is read-only"
poke "$M/one/ctl" EROFS 'rollback\n' "store is read-only"
same "K03: HEAD stays" v1 "$(cat "$M/one/HEAD")"
stop
mount -o remount,rw "$S"

# K03: where nobody ever made the slug's lock, it is still the store that is read-only
rm -f "$S/tune/one/.lock" "$S/tune/one/.job.lock"
mount -o remount,ro "$S"
start
poke "$M/one/ctl" EROFS 'rollback\n' "store is read-only"
poke "$M/one/ctl" EROFS 'promote v0 force\n' "store is read-only"
no mv "$M/one/head.prev" "$M/one/HEAD"
has "K03: mv" "$(cat "$M/one/error")" "store is read-only"
same "K03: HEAD stays" v1 "$(cat "$M/one/HEAD")"
stop
mount -o remount,rw "$S"

# K07: no descriptor left: the client is told, and everybody is served again when there is one
(ulimit -n 48 && exec "$KOLMFS" "$S" "$M" 2>>"$T/log") || die "it does not start with few descriptors"
python3 - "$M/one/revisions/v1/adapter_config.json" <<'END' || fail "K07"
import errno, os, sys
held, no = [], 0
while len(held) < 200 and not no:
    try:
        held.append(os.open(sys.argv[1], os.O_RDONLY))
    except OSError as e:
        no = e.errno
assert no == errno.EMFILE, (no, len(held))
for fd in held: os.close(fd)
assert b'"v1"' in open(sys.argv[1], 'rb').read()
END
same "K07: it serves again" v1 "$(cat "$M/one/HEAD")"
ok bash -c 'echo "capture on" >"$1"' - "$M/one/ctl"
stop
umount "$S"

truncate -s 24M "$T/disk"
if mkfs.ext4 -q -m 0 "$T/disk" && mount -o loop,errors=remount-ro "$T/disk" "$S" 2>/dev/null; then
	rmdir "$S/lost+found"
	chmod 700 "$S"
	full_disk ext4
	# K03: an error makes the file system read-only under a running server
	start
	HEAD=$(cat "$M/one/HEAD")
	cat "$M/one/HEAD" "$M/one/status" >/dev/null
	mount -o remount,abort "$S" 2>/dev/null
	if ! touch "$S/probe" 2>/dev/null; then
		serves "read-only at once"
		refuses "read-only at once" EROFS "store is read-only"
		poke "$M/one/ctl" EROFS 'rollback\n' "store is read-only"
	else
		echo "ran: full.sh without an ext4 that turns read-only: remount,abort is not known here"
	fi
	stop
else
	echo "ran: full.sh without ext4: no loop device"
fi

# K02: a quota, which binds who may not step over it (CAP_SYS_RESOURCE)
bound() { setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource "$@"; }
truncate -s 128M "$T/quota"
mkdir "$T/btrfs"
if command -v mkfs.btrfs >/dev/null && mkfs.btrfs -q "$T/quota" >/dev/null 2>&1 && mount -o loop "$T/quota" "$T/btrfs" 2>/dev/null && btrfs quota enable "$T/btrfs"; then
	btrfs subvolume create "$T/btrfs/s" >/dev/null && btrfs qgroup limit 4M "$T/btrfs/s" && sync
	chmod 700 "$T/btrfs/s"
	mount --bind "$T/btrfs/s" "$S"
	slug one
	HEAD=v1
	echo '{"input":"a","output":"b"}' >"$S/tune/one/captures.jsonl"
	bound "$KOLMFS" "$S" "$M" 2>>"$T/log" || die "it does not start under a quota"
	echo 'watch off' >"$M/one/ctl"
	# until not even a name fits that is asked for when nothing is pending
	for n in $(seq 50); do
		bound bash -c 'for i in $(seq 1000); do head -c $3 /dev/zero >>"$1/ballast.$2.$i" || break; done' - "$S" $n $((n < 4 ? 65536 : 16)) 2>/dev/null
		sync
		bound bash -c 'echo >"$1"' - "$S/ballast.last.$n" 2>/dev/null || break
	done
	before=$(digest)
	poke "$M/one/ctl" EDQUOT 'set gate.k_min 0.5\n' "$SPACE (quota)"
	poke "$M/one/ctl" EDQUOT 'capture on\n' "$SPACE (quota)"
	same "quota: the store" "$before" "$(digest)"
	same "quota: names left behind" "" "$(cd "$S" && find . -name '*.tmp.*')"
	same "quota: HEAD" v1 "$(cat "$M/one/HEAD")"
	has "quota: status" "$(cat "$M/one/status")" "head v1"
	echo rollback >"$M/one/ctl" || fail "quota: rollback: $(cat "$M/one/error")"
	same "quota: HEAD after a rollback" v0 "$(cat "$M/one/HEAD")"
	rm "$S"/ballast*
	soon bash -c 'echo "capture on" >"$1"' - "$M/one/ctl"
	stop
	umount "$S" "$T/btrfs"
else
	echo "ran: full.sh without a quota: no btrfs here"
fi
finish
