#!/bin/bash
# Ordinary tools all read the same bytes as cat, from every listed file (files.md 3.1).
. "$(dirname "$0")/lib.sh"
slug one
printf '{"input":1,"output":"a"}\n{"input":2,"output":"b"}\n' >"$S/tune/one/captures.jsonl"
start
soon grep -q '^walls in' "$M/status" # unknown until the server's first look; what status says must stand still here
want() { cat "$1" | md5sum | cut -d' ' -f1; }
got() { md5sum | cut -d' ' -f1; }

have() { command -v "$1" >/dev/null; }
for tool in busybox rsync; do have $tool || echo "ran: not with $tool: it is not installed"; done
files="$M/README $M/version $M/ctl $M/status $M/one/status $M/one/HEAD $M/one/run $M/one/tune-config.json $M/one/captures.jsonl $M/one/error
	$M/one/revisions/v1/adapter_config.json $M/one/revisions/v1/adapter_model.safetensors"
for f in $files; do
	w=$(want "$f")
	same "dd $f" "$w" "$(dd if="$f" bs=7 status=none | got)"
	same "head $f" "$w" "$(head -c 10000000 "$f" | got)"
	same "tail $f" "$w" "$(tail -c +1 "$f" | got)"
	same "sed $f" "$w" "$(sed -n p "$f" | got)"
	same "tar $f" "$w" "$(tar -C "$(dirname "$f")" -cf - "$(basename "$f")" | tar -xOf - | got)"
	cp "$f" "$T/copy" && same "cp $f" "$w" "$(want "$T/copy")"
	have busybox && same "busybox cat $f" "$w" "$(busybox cat "$f" | got)"
	have busybox && busybox cp "$f" "$T/bcopy" && same "busybox cp $f" "$w" "$(want "$T/bcopy")"
	rm -f "$T/copy" "$T/bcopy"
done
python3 - $files <<'END' || fail "python"
import mmap, os, shutil, sys, tempfile
for path in sys.argv[1:]:
    data = open(path, 'rb').read()
    assert os.stat(path).st_size == len(data), path
    with tempfile.NamedTemporaryFile() as out:
        shutil.copyfile(path, out.name)
        assert open(out.name, 'rb').read() == data, path
    fd = os.open(path, os.O_RDONLY)
    assert b''.join(iter(lambda: os.read(fd, 1), b'')) == data or len(data) > 5000
    assert mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)[:] == data, path
    if 'revisions' in path:
        assert mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ)[:] == data, path
    os.close(fd)
END
same "head -n 1" v1 "$(head -n 1 "$M/one/HEAD")"
same "tail -n 1" '{"input":2,"output":"b"}' "$(tail -n 1 "$M/one/captures.jsonl")"
same "read" v1 "$(read -r x <"$M/one/HEAD"; echo "$x")"

# copies of the whole tree are the tree
ok timeout 20 cp -r "$M" "$T/copied"
ok timeout 20 diff -r "$M" "$T/copied"
chmod -R u+w "$T/copied" && rm -rf "$T/copied"
mkdir "$T/tarred"
ok timeout 20 tar -C "$M" -cf "$T/all.tar" .
ok timeout 20 tar -C "$T/tarred" -xf "$T/all.tar"
ok timeout 20 diff -r "$M" "$T/tarred"
if have rsync; then
	ok timeout 20 rsync -a "$M/" "$T/synced/"
	ok timeout 20 diff -r "$M" "$T/synced"
	same "a second rsync copies nothing" "" "$(rsync -ai "$M/" "$T/synced/" | grep '^>f')"
fi
timeout 20 grep -Rq '"output":"b"' "$M" || fail "grep -R found nothing"
chmod -R u+w "$T/tarred" "$T/synced" 2>/dev/null

# tail -f follows what grows
tail -n 0 -f "$M/one/captures.jsonl" >"$T/followed" &
tailer=$!
sleep 0.3
echo '{"input":3,"output":"c"}' >>"$M/one/captures.jsonl" || fail "append"
soon grep -q '"output":"c"' "$T/followed"
kill $tailer
finish
