#!/bin/bash
# Forty tools over every listed file (ALL=1; a dozen of them otherwise): each gives the bytes of `cat` (files.md 3.1). The tools that walk a whole tree end within ten seconds while
# steps and index jobs run, and agree with it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
slug one
echo '{"entry":1}' >"$S/tune/one/revisions/v1/eval.json"
for n in 1 2 3; do echo '{"input":'$n',"output":"row '$n'"}'; done >"$S/tune/one/captures.jsonl"
mkdir "$T/docs" "$T/out"
for n in $(seq 40); do echo "text $n about refunds and cats" >"$T/docs/$n.txt"; done
start
soon grep -q '^walls in' "$M/status" # unknown until the server's first look; what status says must stand still here
echo "index $T/docs name=docs" >"$M/rag/ctl" && timeout 30 cat "$M/rag/wait" >/dev/null || die index
echo rollback >"$M/one/ctl"
mapfile -t files < <(find "$M" -type f | LC_ALL=C sort)
[ ${#files[@]} -ge 30 ] || die "only ${#files[@]} files are listed"
# every tool over every file takes a minute: make check takes a dozen of the files, chosen by SEED; check-fault takes all
[ -n "${ALL:-}" ] || mapfile -t files < <(printf '%s\n' "${files[@]}" | shuf -n 12 --random-source=<(yes "${SEED:-$(date +%j)}"))
o=$T/out/x
sum() { md5sum | cut -c 1-32; }
missing=() tried=()

# try NAME COMMAND...: {} is the file; what it prints are the bytes. A tool that is not there is counted.
try() {
	local name=$1 f got
	command -v "${name%% *}" >/dev/null || { missing+=("$name"); return; }
	shift
	tried+=("$name")
	for f in "${files[@]}"; do
		got=$(f=$f o=$o timeout 20 bash -c "$1" 2>"$T/err" | sum)
		[ "$got" = "${want[$f]}" ] || fail "$name $f: $(stat -c %s "$f") bytes by stat; $(head -n 2 "$T/err")"
		rm -rf "$o"
	done
}
declare -A want
for f in "${files[@]}"; do want[$f]=$(cat "$f" | sum); done

try "busybox cat" 'busybox cat "$f"'
try "busybox cp" 'busybox cp "$f" "$o" && cat "$o"'
try "busybox tail" 'busybox tail -c +1 "$f"'
try "busybox wc" '[ "$(busybox wc -c <"$f")" = "$(stat -c %s "$f")" ] && cat "$f"'
try "dd" 'dd if="$f" bs=4096 status=none'
try "head" 'head -c 100000000 "$f"'
try "tail" 'tail -c +1 "$f"'
try "tail -f" 'tail -n +1 -f "$f" >"$o" & p=$!; for i in $(seq 100); do [ "$(stat -c %s "$o" 2>/dev/null)" = "$(stat -c %s "$f")" ] && break; sleep 0.02; done; kill $p; cat "$o"'
try "wc -c" '[ "$(wc -c "$f" | cut -d" " -f1)" = "$(stat -c %s "$f")" ] && cat "$f"'
try "cmp" 'cat "$f" >"$o"; cmp "$f" "$o" && cat "$o"'
try "md5sum" '[ "$(md5sum <"$f")" = "$(cat "$f" | md5sum)" ] && cat "$f"'
try "sha256sum" '[ "$(sha256sum "$f" | cut -c 1-64)" = "$(cat "$f" | sha256sum | cut -c 1-64)" ] && cat "$f"'
try "tar" 'tar -C "$(dirname "$f")" -cf - "$(basename "$f")" | tar -xOf -'
try "cpio" 'cd "$(dirname "$f")" && basename "$f" | cpio -o --quiet | { mkdir "$o" && cd "$o" && cpio -i --quiet; } && cat "$o"/*'
try "rsync" 'rsync -a "$f" "$o" && cat "$o"'
try "cp" 'cp "$f" "$o" && cat "$o"'
try "cp -a" 'cp -a "$f" "$o" && cat "$o"'
try "cp --reflink=auto" 'cp --reflink=auto "$f" "$o" && cat "$o"'
try "install" 'install -m 600 "$f" "$o" && cat "$o"'
try "git hash-object" '[ "$(git hash-object "$f")" = "$(cat "$f" | git hash-object --stdin)" ] && cat "$f"'
try "grep" '[ "$(grep -c "" "$f")" = "$(cat "$f" | grep -c "")" ] && cat "$f"'
try "rg" '[ "$(rg -a --no-config -c "" "$f" || echo 0)" = "$(cat "$f" | rg -a --no-config -c "" || echo 0)" ] && cat "$f"'
try "less" 'less -f "$f" | cat'
try "vim" 'timeout 10 vim -R -b -es -u NONE -n +"w! $o" +q "$f" </dev/null >/dev/null; cat "$o"'
try "sed" 'sed -n p "$f"'
try "awk" '[ "$(LC_ALL=C awk "END { print NR }" "$f")" = "$(cat "$f" | LC_ALL=C awk "END { print NR }")" ] && cat "$f"'
try "jq" 'case $f in *.json) [ "$(jq -cS . "$f")" = "$(cat "$f" | jq -cS .)" ] && cat "$f" ;; *) jq -Rrj . "$f" >/dev/null; cat "$f" ;; esac'
try "curl" 'curl -s --path-as-is "file://$f"'
try "split" 'split -b 3000 "$f" "$o." && cat "$o".* 2>/dev/null; rm -f "$o".*'
try "file" '[ "$(file -b - <"$f")" = "$(cat "$f" | file -b -)" ] && cat "$f"'
try "zip" 'zip -q - "$f" >"$o" && python3 -c "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); sys.stdout.buffer.write(z.read(z.namelist()[0]))" "$o"'
try "perl" 'perl -e "open F, q(<), shift; binmode F; local \$/; print <F>" "$f"'
try "find" 'find "$f" -exec cat {} +'
try "od" '[ "$(od -c "$f" | md5sum)" = "$(cat "$f" | od -c | md5sum)" ] && cat "$f"'
try "sort" '[ "$(LC_ALL=C sort "$f" | md5sum)" = "$(cat "$f" | LC_ALL=C sort | md5sum)" ] && cat "$f"'
try "xxd" 'xxd "$f" | xxd -r'
try "zsh" 'zsh -c "cat < \"\$f\""'
try "fish" 'fish -c "cat < \"\$f\""'
try "dash" 'dash -c "cat < \"\$f\""'

# programs that read for themselves: all files in one process each
python3 - "${files[@]}" >"$T/sums.python" 2>"$T/err" <<'END' || fail "python: $(tail -n 2 "$T/err")"
import hashlib, mmap, os, pathlib, shutil, sys, tempfile
for path in sys.argv[1:]:
    data = open(path, 'rb').read()
    assert os.stat(path).st_size == len(data) and pathlib.Path(path).read_bytes() == data, path
    fd = os.open(path, os.O_RDONLY)
    assert os.fstat(fd).st_size == len(data), path
    if data:
        assert mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)[:] == data, path
    with tempfile.NamedTemporaryFile() as out:
        for copy in (shutil.copyfile, shutil.copy2):
            copy(path, out.name)
            assert open(out.name, 'rb').read() == data, (path, copy)
        with open(out.name, 'wb') as to:
            at = 0
            while n := os.sendfile(to.fileno(), fd, at, 1 << 20):
                at += n
        assert open(out.name, 'rb').read() == data, path
    os.close(fd)
    print(hashlib.md5(data).hexdigest())
END
tried+=("python open" "python mmap" "python shutil" "python pathlib" "python sendfile")
for f in "${files[@]}"; do echo "${want[$f]}"; done >"$T/sums"
same "python" "" "$(diff "$T/sums" "$T/sums.python")"
if command -v node >/dev/null; then
	cat >"$T/read.js" <<'END'
const fs = require('fs'), crypto = require('crypto');
(async () => {
	for (const path of process.argv.slice(2)) {
		const data = fs.readFileSync(path), parts = [];
		for await (const part of fs.createReadStream(path)) parts.push(part);
		if (!data.equals(Buffer.concat(parts)) || !data.equals(await fs.promises.readFile(path))) throw path;
		console.log(crypto.createHash('md5').update(data).digest('hex'));
	}
})();
END
	node "$T/read.js" "${files[@]}" >"$T/sums.node" 2>"$T/err" || fail "node: $(head -n 3 "$T/err")"
	same "node" "" "$(diff "$T/sums" "$T/sums.node")"
	# fs.watch hears of a change
	timeout 20 node -e 'const w = require("fs").watch(process.argv[1], () => { console.log("changed"); process.exit(); }); require("fs").writeFileSync(process.argv[2], ""); setTimeout(() => process.exit(1), 15000)' "$M/one/HEAD" "$T/watching" >"$T/watched" &
	watcher=$!
	soon test -e "$T/watching"
	echo rollback >"$M/one/ctl"
	wait $watcher
	same "node fs.watch" changed "$(cat "$T/watched")"
	echo rollback >"$M/one/ctl"
	tried+=("node readFile" "node createReadStream" "node watch")
else
	missing+=(node)
fi
if command -v go >/dev/null; then
	cat >"$T/read.go" <<'END'
package main

import (
	"crypto/md5"
	"fmt"
	"os"
)

func main() {
	for _, path := range os.Args[1:] {
		data, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%x\n", md5.Sum(data))
	}
}
END
	env GOCACHE="$T/go" GOFLAGS=-mod=mod go build -o "$T/read-go" "$T/read.go" 2>"$T/err" && "$T/read-go" "${files[@]}" >"$T/sums.go" || fail "go: $(head -n 3 "$T/err")"
	for f in "${files[@]}"; do cat "$f" | sum; done >"$T/sums" # events grew meanwhile
	same "go" "" "$(diff "$T/sums" "$T/sums.go")"
	tried+=("go os.ReadFile")
else
	missing+=(go)
fi

# whole-tree tools, each within ten seconds, while steps run (of a base so small that one takes ten seconds) and indexes are made; without the pause, twenty indexers a second leave
# the tools no core to run on
echo 'function generate(input, lib) { return lib.lm ? lib.lm.choose(input, ["a", "b"]) : "a"; }' | artifact small
cp -r "$ROOT/tests/unit/data/peft/tiny" "$T/base"
echo "init $T/small.kolm base=$T/base rank=4" >"$M/ctl" || die "$(cat "$M/error")"
for n in $(seq 1000); do echo '{"input":"row '$n'","output":"'$([ $((n % 2)) = 0 ] && echo a || echo b)'"}'; done >"$M/small/captures.jsonl"
(while sleep 0.2; do echo "step epochs=100" >"$M/small/ctl" && cat "$M/small/wait"; done) >/dev/null 2>&1 &
steps=$!
training() { grep -q '^progress [1-9][0-9]* [0-9]* steps' "$M/small/status"; }
soon training
(while sleep 0.2; do echo "index $T/docs name=docs" >"$M/rag/ctl" && cat "$M/rag/wait"; done) >/dev/null 2>&1 &
busy=$!
whole() {
	local name=$1
	shift
	command -v "${name%% *}" >/dev/null || { missing+=("$name"); return; }
	timeout 10 bash -c "$1" - "$M" "$T/out" >/dev/null 2>"$T/err"
	[ $? -lt 124 ] || fail "$name did not end within ten seconds"
	tried+=("$name")
	rm -rf "$T/out"/*
}
whole "cp -a" 'cp -a "$1" "$2/a"'
whole "cp -r" 'cp -r "$1" "$2/a"'
whole "rsync -a" 'rsync -a "$1/" "$2/a/"'
whole "tar" 'tar -C "$1" -cf "$2/a.tar" .'
whole "cpio" 'cd "$1" && find . | cpio -o --quiet'
whole "grep -R" 'grep -R nothing-like-it "$1"'
whole "rg" 'rg -a --no-config nothing-like-it "$1"'
whole "find -exec" 'find "$1" -type f -exec cat {} +'
whole "diff -r" 'cp -r "$1/one" "$2/a"; diff -r "$1/one" "$2/a"'
whole "zip" 'cd "$1" && zip -qr "$2/a.zip" .'
whole "du" 'du -a "$1"'
whole "git add" 'git init -q "$2/g" && cd "$2/g" && git --work-tree="$1" add -A'
whole "wc" 'find "$1" -type f -print0 | wc --files0-from=-'
soon training
kill $busy $steps
wait $busy $steps 2>/dev/null
echo cancel >"$M/small/ctl"
timeout 30 cat "$M/small/wait" >/dev/null
timeout 30 cat "$M/rag/wait" >/dev/null

# and agree, when nothing changes: the second rsync transfers nothing
rsync -a "$M/one/" "$T/out/synced/" && same "a second rsync copies nothing" "" "$(rsync -ai "$M/one/" "$T/out/synced/" | grep '^>f')"
cp -r "$M/one" "$T/out/copied" && ok diff -r "$M/one" "$T/out/copied"
chmod -R u+w "$T/out"
# check-fault has installed them all
[ -z "${ALL:-}" ] || same "tools that are not installed" "" "${missing[*]}"
echo "ran: ${#files[@]} files, ${#tried[@]} tools${missing:+; not installed: ${missing[*]}}"
finish
