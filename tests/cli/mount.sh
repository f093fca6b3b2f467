#!/bin/bash
# mount and umount; the command line beside a server on the same store, each seeing what the other did; watch without and beside a server.
. "$(dirname "$0")/lib.sh"

[ -x "$BUILD/bin/kolmfs" ] || die "$BUILD/bin/kolmfs is not built"
[ -r /dev/fuse ] && [ -w /dev/fuse ] || die "no usable /dev/fuse on this machine: mount cannot be tested"
[ -f "$MODEL" ] || skip "no base model at $MODEL (make model)"

M=$T/mnt
trap 'kill $(jobs -p) 2>/dev/null; umount -l "$M" "$S" 2>/dev/null; rm -rf "$T"' EXIT
mkdir "$M"
make_shout
works 'ok wrote skeleton v0' tune init --artifact shout.kolm --base "$MODEL"
# without a server the watch is a loop of its own
"$BUILD/bin/kolm" tune watch --artifact shout.kolm --interval 200 >watch.out 2>&1 &
pid=$!
for _ in $(seq 200); do grep -q watch_started watch.out && break; sleep 0.1; done
kill -INT $pid; wait $pid; RC=$?; OUT=$(cat watch.out); ERR=; LAST='tune watch, interrupted'
ends 0; says 'watching shout: 0 rows to train on, a step at 200'; says '"event":"watch_started"'

jq '.log_max_bytes = 65536' "$S/config.json" >c.json && cp c.json "$S/config.json"
run mount "$M"; ends 0
[ "$(cat "$M/shout/HEAD")" = v0 ] || bad "HEAD through the mount"
works 'ok captures on' tune capture-on --artifact shout.kolm
grep -q '^captures_on yes' "$M/shout/status" || bad "the server does not see capture-on"
works 'HEY' run shout.kolm hey --force
[ "$(grep -c '"input":"hey"' "$M/shout/captures.jsonl")" -eq 1 ] || bad "the server does not see the row"
echo 'capture off' >"$M/shout/ctl"
works '"captures_on": false' tune status --artifact shout.kolm
"$BUILD/bin/kolm" tune watch --artifact shout.kolm --interval 100 >watch.out 2>&1 &
pid=$!
# it follows from its own start on, whenever that is
for _ in $(seq 100); do echo 'capture on' >"$M/shout/ctl"; sleep 0.1; grep -q '"event":"capture' watch.out && break; done
# and shows each line once, also of those that came just before the log turned over
n=0
while ! ls "$S"/logs/tune.[0-9]*.jsonl* >/dev/null 2>&1 && [ $n -lt 1000 ]; do n=$((n + 1)); echo "set watch.sample_size $n" >"$M/shout/ctl"; done
echo 'set watch.sample_size 5000' >"$M/shout/ctl"
for _ in $(seq 100); do grep -q '5000' watch.out && break; sleep 0.1; done
kill -INT $pid; wait $pid; RC=$?; OUT=$(cat watch.out); ERR=; LAST='tune watch beside a server'
ends 0; says 'a server runs on this store'; says '"event":"capture'
[ $n -lt 1000 ] && [ "$(grep -c '"event":"set' watch.out)" -eq $((n + 1)) ] || bad "$n settings and one more, shown: $(grep -c '"event":"set' watch.out)"
grep '^{' watch.out | jq .seq | awk 'NR > 1 && $1 != last + 1 { exit 1 } { last = $1 } END { exit NR < 2 }' || bad "lines of the watch are missing, or there twice"
exec 5<"$M/shout/HEAD"
fails 4 'is in use' umount "$M"
exec 5<&-
run umount "$M"; ends 0
fails 5 'no store is mounted at' umount "$M"
# by a link; and on the store itself, for which no mountpoint is given
ln -s "$M" link
run mount "$M"; ends 0
run umount link; ends 0
run mount -o over "$M"; ends 1; errs 'leave the mountpoint'
works '' mount -o over
[ "$(cat "$S/shout/HEAD")" = v0 ] || bad "HEAD through a mount over the store"
run umount "$S"; ends 0
fails 5 'no store is mounted at' umount "$T/nowhere"
finish
