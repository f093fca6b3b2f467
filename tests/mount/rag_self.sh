#!/bin/bash
# A folder with a mounted kolmfs in it, with pipes, link loops and unreadable files: what is no document is skipped and counted, and nothing hangs.
. "$(dirname "$0")/lib.sh"

slug one
start
mkdir -p "$T/tree/in" "$T/tree/deep" "$T/other"
echo 'a zebra document' >"$T/tree/a.md"
mkfifo "$T/tree/pipe.md"
ln -s . "$T/tree/deep/loop"
ln -s ../a.md "$T/tree/link.md"
mount --bind "$M" "$T/tree/in" || { echo "skipped: no right to mount"; exit 77; }
trap 'umount -l "$T/tree/in" 2>/dev/null; stop 2>/dev/null; rm -rf "$T"' EXIT
mkdir "$T/out"
out=$(timeout 20 "$BUILD/bin/kolm-indexer" --name self --root "$T/tree" --out "$T/out" 2>/dev/null | tail -n 1)
same "counted" '{"big":0,"unreadable":0,"empty":0,"special":3,"mounts":1} 1' "$(jq -cr '"\(.skipped) \(.docs)"' <<<"$out")"
# started by kolm it does not even see the mount
out=$(KOLM_HOME=$T/other timeout 20 "$BUILD/bin/kolm" rag index "$T/tree" --name self 2>&1)
has "one document" "$out" "indexed 1 doc"
has "the rest" "$(cat "$T"/other/rag/jobs/*/log)" "skipped 3 (not regular files)"
umount -l "$T/tree/in"
finish
