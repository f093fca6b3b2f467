#!/bin/bash
# rag index, query, list, attach, detach.
. "$(dirname "$0")/lib.sh"

mkdir docs empty
echo 'The refund policy: money back within thirty days.' >docs/refund.md
echo 'Shipping takes a week; a zebra takes longer.' >docs/shipping.txt
echo 'binary' >docs/skip.bin
works '(no indexes' rag list
run rag index ./docs --name internal-docs; ends 0
says_line 'ok  indexed 2 docs'; says_line '    name:    internal-docs'; says_line "    root:    $T/docs"
says_like '^    avgdl:   [0-9]+ tokens/doc$'; says_like '^    size:    [0-9]+\.[0-9] KB$'; says_like '^    sha256:  [0-9a-f]{16}\.\.\.$'
sha=$(sha256sum "$S/rag/internal-docs/index.json" | cut -c1-16); says "$sha"
run rag query internal-docs "refund policy" --top-k 1; ends 0
says_line '# query: refund policy'; says_line '# index: internal-docs (2 docs)'; says_line '# tokens: refund policy'; says_like '^\[1\] score=[0-9.]+  refund\.md$'; says '    The refund policy'
works '(no matches)' rag query internal-docs unicorn
# colours on a terminal only, and NO_COLOR is heard
case $(paint -- rag query internal-docs 'refund policy') in *'^[35mrefund.md^[0m'*'The ^[1;31mrefund^[0m ^[1;31mpolicy^[0m: money'*) ;; *) bad "no colours on a terminal: $(paint -- rag query internal-docs 'refund policy')" ;; esac
for plain in NO_COLOR=1 TERM=dumb; do case $(paint $plain -- rag query internal-docs 'refund policy') in *'^'*) bad "$plain was not heard" ;; *'The refund policy'*) ;; *) bad "$plain: no answer" ;; esac; done
run rag query internal-docs 'refund policy'; case $OUT in *$'\033'*) bad "colours in a pipe" ;; esac
run rag query internal-docs 'policy week' --path ship; ends 0; says_like '^\[1\] .*  shipping\.txt$'
works '(no matches)' rag query internal-docs policy --path ship
works '(no matches)' rag query internal-docs policy --after 1
fails 1 'after: 0 to 100000' rag query internal-docs policy --after 100001
works '(no matches)' rag query internal-docs ','
works '"n_docs": 2' rag query internal-docs zebra --json
run rag list; ends 0; says_like "^internal-docs {13}2 docs  [0-9]+\.[0-9]KB  $T/docs$"
works '"name": "internal-docs"' rag list --json
works 'ok  indexed 1 doc' rag index docs --name one --ext md
works 'name:    docs' rag index docs/

# mode kolm-2: stems and the query language; there is no index.json, and the manifest says the mode
printf '# Refunds\n\nMoney was paid back.\n\n# Parcels\n\nThey are shipped on Mondays.\n' >docs/shop.md
works 'ok  indexed' rag index docs --name two --mode kolm-2
run rag query two 'shipment +parcel'; ends 0; says_like '^\[1\] score=[0-9.]+  shop\.md$'
run rag query two '"paid back" -thirty' --top-k 1; ends 0; says_like '^\[1\] score=[0-9.]+  shop\.md$'
case $(paint -- rag query two 'ships parcel -thirty') in *'They are ^[1;31mshipped^[0m on Mondays'*) ;; *) bad "stems are not coloured: $(paint -- rag query two 'ships parcel -thirty')" ;; esac
fails 4 'is not closed' rag query two '"paid back'
[ "$(jq -r .spec "$S/rag/two/manifest.json")" = kolm-2 ] || bad "the manifest of a kolm-2 index"
[ ! -e "$S/rag/two/index.json" ] || bad "a kolm-2 index has an index.json"
fails 4 'mode "kolm-3" is not known' rag index docs --name three --mode kolm-3
fails 4 'no files matched' rag index empty
fails 4 "/nothing\": No such file" rag index nothing
fails 1 'bad index name' rag index docs --name ../x
fails 4 'index "x" not found' rag query x y
[ -z "$(find "$S/rag" -mindepth 1 -maxdepth 1 -type d -name '.[!j]*')" ] || bad "a failed index left a folder: $(ls -A "$S/rag")"
# many commands at once, one name: each job has a number, and so a folder, of its own
for round in 1 2 3 4; do
	for i in 1 2 3 4 5 6; do "$BUILD/bin/kolm" rag index docs --name crowd >"$T/crowd.$i" 2>&1 || touch "$T/crowd.bad" & done
	wait
done
[ ! -e "$T/crowd.bad" ] || bad "one of many indexers of one name failed: $(grep -h error: "$T"/crowd.* | head -2)"
numbers=$(grep '"queued"' "$S/rag/jobs.jsonl" | grep -o '"job":[0-9]*' | sort)
[ "$(wc -l <<<"$numbers")" -ge 24 ] || bad "the jobs' numbers are not in the log: $numbers"
twice=$(uniq -d <<<"$numbers")
[ -z "$twice" ] || bad "a number was given to two jobs: $twice"

cat >ask.spec.json <<'END'
{"job_id":"job_ask","task":"ask","base_model":"none","recipes":[{"id":"rcp_ask","name":"ask",
"source":"function generate(q, lib) { if (!lib.rag) return 'nothing attached'; var m = lib.rag.query(q, 1).matches; return m.length ? m[0].path : 'none'; }"}],
"evals":{"cases":[{"id":"a","input":"x","expected":"nothing attached"}]}}
END
run compile --spec ask.spec.json --out ask.kolm; ends 0
works 'nothing attached' run ask.kolm zebra
fails 4 'index "x" not found' rag attach ask.kolm --index x
fails 1 'needs an index' rag attach ask.kolm
run rag attach ask.kolm --index internal-docs; ends 0; says_line 'ok wrote ask.kolm.rag.json'
[ -f ask.kolm.rag.json ] || bad "no sidecar"
run run ask.kolm zebra; ends 0; says_line 'shipping.txt'
run rag detach ask.kolm; ends 0; says_line 'ok removed ask.kolm.rag.json'
works 'nothing attached' run ask.kolm zebra
fails 4 'nothing is attached' rag detach ask.kolm

# what an attached artifact of the reference answers
if [ -f "$COMPAT/golden/b11_rag_attached_expected.json" ] && command -v python3 >/dev/null; then
	python3 "$COMPAT/gen_corpora.py" odd "$T/odd" >/dev/null 2>&1
	cp "$COMPAT/artifacts/b11_rag.kolm" .
	works 'ok  indexed' rag index odd --name odd
	works 'ok wrote' rag attach b11_rag.kolm --index odd
	KOLM=$BUILD/bin/kolm python3 - "$COMPAT/golden/b11_rag_attached_expected.json" "$COMPAT/golden/built.json" <<-'END' || bad "b11_rag with the index odd"
	import json, os, subprocess, sys
	want, built = (json.load(open(p)) for p in sys.argv[1:])
	env = dict(os.environ, RECIPE_RECEIPT_SECRET=built["secret"])
	rows, bad = (want if isinstance(want, list) else want.get("runs", want.get("cases", [want]))), 0
	for row in rows:
	    p = subprocess.run([os.environ["KOLM"], "run", "b11_rag.kolm", json.dumps(row["input"]), "--json", "--force"], capture_output=True, env=env)
	    got = json.loads(p.stdout)["output"] if p.returncode == 0 else p.stderr
	    expect = json.loads(row["output_json"]) if "output_json" in row else row.get("output", row.get("expected"))
	    if json.dumps(got) != json.dumps(expect):
	        bad = 1
	        print(row["input"], json.dumps(got)[:500], json.dumps(expect)[:500], sep="\n  ")
	sys.exit(bad)
	END
else
	echo "ran: no answers of the reference: $COMPAT is not there"
fi
# J02: a folder that may not be read, and one that may not be entered; root may all, so as somebody else
if [ "$(id -u)" != 0 ]; then
	as() { "$@"; }
	there=$T
elif command -v setpriv >/dev/null; then
	there=$(mktemp -d /dev/shm/kolm-rag.XXXXXX) && trap 'rm -rf "$T" "$there"' EXIT
	chmod 755 "$there"
	as() { env -i PATH="$PATH" HOME="$there/home" setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
	mkdir "$there/programs" && cp "$BUILD/bin/kolm" "$BUILD/bin/kolm-indexer" "$there/programs/"
else
	there=
	echo "ran: J02 as root only: setpriv is not installed"
fi
if [ -n "$there" ]; then
	mkdir -p "$there"/{home,closed/in} && chmod 000 "$there/closed" && [ "$(id -u)" != 0 ] || chown 65534 "$there/home"
	[ -d "$there/programs" ] || ln -s "$BUILD/bin" "$there/programs"
	for dir in "$there/closed" "$there/closed/in"; do
		as "$there/programs/kolm" rag index "$dir" >.out 2>.err </dev/null
		RC=$? OUT=$(cat .out) ERR=$(cat .err) LAST="rag index of a folder that may not be read"
		[ "$RC" != 0 ] || bad "it worked"
		errs "cannot index \"$dir\": Permission denied"
	done
	chmod 755 "$there/closed"
fi
finish
