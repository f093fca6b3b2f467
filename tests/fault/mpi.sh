#!/usr/bin/env bash
# the trainer over many ranks: the same adapter bytes for 1, 2, 3 and 4, on one machine and on hosts in network namespaces; a lost rank ends the job
set -u
cd "$(dirname "$0")/../.." || exit 1
make --no-print-directory mpi >/dev/null || exit 1
bin=$(realpath "${BUILD:-build}/bin")
work=$(mktemp -d)
hosts="kolm-a$$ kolm-b$$"
cleanup() {
	for h in $hosts; do ip netns del "$h" 2>/dev/null; done
	ip link del "kolmbr$$" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*"; cat "$work"/*.log 2>/dev/null | tail -n 20; exit 1; }

mkdir -p "$work/tune/revisions"
printf '{"base_model":"%s","rank":4,"alpha":8,"target_modules":["q_proj","k_proj","v_proj","o_proj"]}' "$PWD/tests/unit/data/peft/tiny" >"$work/tune/tune-config.json"
for i in $(seq 1 90); do
	printf '{"prompt":"word %d of the list: %s","answer":"answer %d"}\n' "$i" "$(printf 'x%.0s' $(seq 1 $((i % 13 + 1))))" $((i % 7))
done >"$work/rows.jsonl"
export KOLM_ROWS=$work/rows.jsonl KOLM_SEED=7 KOLM_THREADS=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
run="mpirun --oversubscribe --bind-to none -x KOLM_ROWS -x KOLM_SEED -x KOLM_THREADS"

# train NAME COMMAND...: the digest of the adapter it left
train() {
	local name=$1
	shift
	mkdir -p "$work/$name"
	timeout 120 "$@" --tune-dir "$work/tune" --captures "$work/rows.jsonl" --out-dir "$work/$name" --prev v0 --epochs 2 --batch-size 18 --lr 1e-3 \
		>"$work/$name.log" 2>&1 || fail "$name ended with $?"
	[ "$(grep -c '"ok":true' "$work/$name.log")" = 1 ] || fail "$name: not exactly one result line"
	sha256sum <"$work/$name/adapter_model.safetensors"
}
want=$(train alone "$bin/kolm-trainer") || fail "$want"
for n in 1 2 3 4; do
	got=$(train "ranks$n" $run -n $n "$bin/kolm-trainer-mpi") || fail "$got"
	[ "$got" = "$want" ] || fail "$n ranks: the adapter differs from that of one process"
done

# through the loop: a cluster worker runs only without airgap, its record says so, and its bytes are the native trainer's
export HOME=$work
cat >"$work/kind.json" <<'E'
{"job_id":"job_kind","task":"fruit or animal","base_model":"none","recipes":[{"id":"rcp_kind","name":"kind",
"source":"function generate(i, lib) { if (!lib.lm) return 'no model'; return lib.lm.choose('Is this a fruit or an animal? ' + i, ['fruit', 'animal']); }"}],
"evals":{"cases":[{"id":"a","input":"plum","expected":"fruit"}]}}
E
"$bin/kolm" compile --spec "$work/kind.json" --out "$work/kind.kolm" --allow-below-gate >/dev/null || fail "cannot compile"
mkdir -p "$work/.kolm"
printf '{"workers":{"many":{"command":"mpirun --allow-run-as-root --oversubscribe -n 2 %s","network":"cluster","reads":["%s"]}}}' \
	"$bin/kolm-trainer-mpi" "$bin" >"$work/.kolm/config.json"
for slug in many one; do
	"$bin/kolm" tune init --artifact "$work/kind.kolm" --slug $slug --base "$PWD/tests/unit/data/peft/tiny" >/dev/null || fail "cannot init"
	for w in apple:fruit dog:animal cherry:fruit cow:animal grape:fruit cat:animal peach:fruit; do
		echo "{\"input\":\"${w%:*}\",\"output\":\"${w#*:}\"}"
	done >"$work/.kolm/tune/$slug/captures.jsonl"
done
"$bin/kolm" tune step --artifact "$work/kind.kolm" --slug many --batch-size 7 >"$work/refused.log" 2>&1 && fail "a cluster worker ran under airgap"
grep -q 'does not run under airgap' "$work/refused.log" || fail "no sentence about airgap"
for slug in many one; do
	"$bin/kolm" tune step --artifact "$work/kind.kolm" --slug $slug --batch-size 7 --no-airgap >"$work/step.log" 2>&1 || fail "the step of $slug failed"
done
rev=$(ls "$work/.kolm/tune/many/revisions" | tail -n 1)
cmp -s "$work/.kolm/tune/many/revisions/$rev/adapter_model.safetensors" "$work/.kolm/tune/one/revisions/v1/adapter_model.safetensors" ||
	fail "the cluster worker's adapter differs from the native one"
grep -q '"network": "cluster"' "$work/.kolm/tune/many/revisions/$rev/train.json" || fail "train.json does not say that the network was open"
grep -q 'Read -1' "$work"/.kolm/tune/many/jobs/*/log && fail "ranks cannot read each other's memory"

# hosts: two network namespaces on a bridge; mpirun reaches them by "ip netns exec" instead of ssh
if ip link add "kolmbr$$" type bridge 2>/dev/null; then
	ip addr add 10.97.13.254/24 dev "kolmbr$$" && ip link set "kolmbr$$" up
	i=1
	for h in $hosts; do
		ip netns add "$h" && ip link add "kv$i-$$" type veth peer name eth0 netns "$h" && ip link set "kv$i-$$" master "kolmbr$$" up &&
			ip -n "$h" addr add "10.97.13.$i/24" dev eth0 && ip -n "$h" link set eth0 up && ip -n "$h" link set lo up || fail "cannot make host $h"
		i=$((i + 1))
	done
	cat >"$work/agent" <<-'A'
	#!/bin/sh
	# called as ssh is: HOST COMMAND
	host=$1
	shift
	exec ip netns exec "$host" unshare --uts sh -c "hostname $host; $*"
	A
	chmod +x "$work/agent"
	set -- $hosts
	over_hosts="$run --mca plm_rsh_agent $work/agent --mca btl tcp,self --mca btl_tcp_if_include 10.97.13.0/24 --mca oob_tcp_if_include 10.97.13.0/24
		--mca plm_rsh_no_tree_spawn 1 --host $1:2,$2:2 -n 4"
	[ "$(timeout 60 $over_hosts hostname 2>"$work/hostname.log" | sort -u | wc -l)" = 2 ] || fail "the ranks are not on two hosts"
	got=$(train hosts $over_hosts "$bin/kolm-trainer-mpi") || fail "$got"
	[ "$got" = "$want" ] || fail "two hosts: the adapter differs"
	over="and over two hosts"
else
	over="(no network namespaces here: hosts not tried)"
fi

# a rank killed in mid-step: the run ends, with no result and no adapter
mkdir -p "$work/killed"
timeout 120 $run -n 3 "$bin/kolm-trainer-mpi" --tune-dir "$work/tune" --captures "$work/rows.jsonl" --out-dir "$work/killed" --prev v0 --epochs 900 --batch-size 18 \
	--lr 1e-3 >"$work/killed.log" 2>&1 &
pid=$!
for _ in $(seq 100); do grep -q '"step":' "$work/killed.log" && break; sleep 0.1; done
victim=$(pgrep -f "kolm-trainer-mpi .*$work/killed" | while read -r p; do [ "$(cat /proc/"$p"/comm 2>/dev/null)" = kolm-trainer-mp ] && echo "$p"; done | tail -n 1)
kill -9 "$victim" || fail "no rank to kill"
wait $pid
rc=$?
[ $rc -ne 0 ] && [ $rc -ne 124 ] || fail "a killed rank: the run ended with $rc"
grep -q '"ok":true' "$work/killed.log" && fail "a killed rank: a result all the same"
[ ! -e "$work/killed/adapter_model.safetensors" ] || fail "a killed rank: an adapter all the same"
echo "ran: adapters of 1, 2, 3 and 4 ranks $over are the same bytes; a killed rank ends the run"
