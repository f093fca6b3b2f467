#!/bin/bash
# Whatever writes a command does what its user meant: shells, languages, tee, dd, cp; and a refused one is told where that program tells things.
. "$(dirname "$0")/lib.sh"
slug one
start
export C=$M/one/ctl R=$M/one/captures.jsonl
state() { awk '$1 == "captures_on" { print $2 }' "$M/one/status"; }
ran=() missing=()
cat >"$T/w.go" <<'END'
package main

import "os"

func main() {
	f, err := os.OpenFile(os.Args[1], os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(os.Args[2])
	}
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
}
END
command -v go >/dev/null && env GOCACHE="$T/go" GOFLAGS=-mod=mod go build -o "$T/w-go" "$T/w.go"

# way NAME PROGRAM COMMAND [SAID]: COMMAND writes $W to $C; refused, it exits with an error and says SAID (nothing: exit status alone)
way() {
	local name=$1 want said=${4-Invalid argument} out
	command -v "$2" >/dev/null || { missing+=("$name"); return; }
	want=$([ "$(state)" = yes ] && echo off || echo on)
	out=$(W="capture $want" timeout 20 bash -c "$3" - "$T" 2>&1) || fail "$name: exit $?: $out"
	same "$name" "$([ $want = on ] && echo yes || echo no)" "$(state)"
	out=$(W="frobnicate" timeout 20 bash -c "$3" - "$T" 2>&1) && fail "$name: a refused command looks well: $out"
	has "$name, refused" "$out" "$said"
	has "$name: the sentence" "$(cat "$M/one/error")" 'unknown command "frobnicate"'
	ran+=("$name")
}
for sh in bash dash zsh; do
	said='nvalid argument'
	[ $sh = dash ] && said='I/O error' # whatever the errno
	way "$sh echo >" $sh "$sh -c 'echo \$W >\$C'" "$said"
	way "$sh echo >>" $sh "$sh -c 'echo \$W >>\$C'" "$said"
	way "$sh printf" $sh "$sh -c 'printf \"%s\\n\" \"\$W\" >\$C'" "$([ $sh = dash ] && echo error || echo "$said")"
	way "$sh printf, no line feed" $sh "$sh -c 'printf %s \"\$W\" >\$C'" "$([ $sh = dash ] && echo error || echo "$said")"
	way "$sh here text" $sh "$sh -c 'cat >\$C <<E
\$W
E'"
done
way "fish echo >" fish "fish -c 'echo \$W >\$C'" "nvalid argument"
way "fish printf" fish "fish -c 'printf \"%s\\n\" \$W >\$C'" "nvalid argument"
way "busybox sh" busybox "busybox sh -c 'echo \$W >\$C'" "nvalid argument"
way python python3 'python3 -c "
import os
with open(os.environ[\"C\"], \"w\") as f: f.write(os.environ[\"W\"] + \"\n\")"'
way "python, unbuffered" python3 'python3 -c "
import os
open(os.environ[\"C\"], \"wb\", 0).write(os.environ[\"W\"].encode())"'
way "python pathlib" python3 'python3 -c "
import os, pathlib
pathlib.Path(os.environ[\"C\"]).write_text(os.environ[\"W\"])"'
way node node 'node -e "require(\"fs\").writeFileSync(process.env.C, process.env.W + \"\n\")"' EINVAL
way "node appendFile" node 'node -e "require(\"fs\").appendFileSync(process.env.C, process.env.W)"' EINVAL
way perl perl 'perl -e "open F, q(>), \$ENV{C} or die; print F \$ENV{W}, qq(\n); close F or die qq(\$!\n)"'
way go "$T/w-go" '"$1/w-go" "$C" "$W"' "invalid argument"
way tee tee 'echo "$W" | tee "$C" >/dev/null'
way "tee -a" tee 'echo "$W" | tee -a "$C" >/dev/null'
way dd dd 'echo "$W" | dd of="$C" status=none'
way "dd notrunc" dd 'echo "$W" | dd of="$C" conv=notrunc status=none'
way cp cp 'echo "$W" >"$1/cmd" && cp "$1/cmd" "$C"'
way "busybox cp" busybox 'echo "$W" >"$1/cmd" && busybox cp "$1/cmd" "$C"'
way cat cat 'echo "$W" >"$1/cmd" && cat "$1/cmd" >"$C"'
way awk awk 'awk -v w="$W" -v c="$C" "BEGIN { print w >c; exit close(c) != 0 }"' ""
way sed sed 'echo "$W" | sed -n "w $C"' ""

# two lines are two commands, whether they come in one write or in two
for how in "bash -c 'printf \"capture on\\nset gate.k_min 0.5\\n\" >\$C'" "dash -c 'printf \"capture on\\nset gate.k_min 0.5\\n\" >\$C'" \
	"bash -c '{ echo capture on; echo set gate.k_min 0.5; } >\$C'" "cat <<<\$'capture on\\nset gate.k_min 0.5' >\$C"; do
	printf 'capture off\nset gate.k_min 0.9\n' >"$C"
	bash -c "$how" || fail "two lines: $how"
	same "two lines: $how" "yes 0.5" "$(state) $(awk '$1 == "gate_k_min" { print $2 }' "$M/one/status")"
done
# rows: each way adds its one row
rows=0
row() { rows=$((rows + 1)); bash -c "$1" - "$T" || fail "row: $1"; same "rows after: $1" $rows "$(wc -l <"$R")"; }
row "echo '{\"input\":1,\"output\":1}' >>\$R"
row "echo '{\"input\":2,\"output\":1}' >\$R"
row "dash -c 'echo \"{\\\"input\\\":3,\\\"output\\\":1}\"' | tee \$R >/dev/null"
row "printf '{\"input\":4,\"output\":1}' | dd of=\$R bs=5 status=none"
row "echo '{\"input\":5,\"output\":1}' >\$1/row && cp \$1/row \$R"
row "python3 -c \"import os; open(os.environ['R'], 'a').write('{\\\"input\\\":6,\\\"output\\\":1}')\""
ok jq -es 'map(.input) == [1, 2, 3, 4, 5, 6]' "$R" >/dev/null
# check-fault has installed them all
[ -z "${ALL:-}" ] || same "what is not installed" "" "${missing[*]}"
echo "ran: ${#ran[@]} ways to write${missing:+; not installed: ${missing[*]}}"
finish
