#!/bin/bash
# How well kolm-2 finds on the judged sets at hand: nDCG@10 must not fall below what issue and manual promise.
cd "$(dirname "$0")/../.." || exit 1
# what is measured, by hand: the second hit of two has grade 2, another relevant document is not in the corpus; only the judged question counts
tiny=$(mktemp -d) || exit 1
trap 'rm -rf "$tiny"' EXIT
printf '%s\n' '{"_id":"short","title":"","text":"zebra"}' '{"_id":"long","title":"","text":"zebra and many more words that make this one longer"}' '{"_id":"none","title":"","text":"nothing"}' >"$tiny/corpus"
printf 'query-id\tcorpus-id\tscore\none\tlong\t2\none\tshort\t0\none\tgone\t1\n' >"$tiny/qrels"
printf '%s\n' '{"_id":"one","text":"+zebra"}' '{"_id":"two","text":"nothing"}' >"$tiny/queries.jsonl"
printf 'one\tzebra\ntwo\tnothing\n' >"$tiny/queries.tsv"
for form in jsonl tsv; do
	out=$(tools/rag-eval "$tiny/corpus" "$tiny/queries.$form" "$tiny/qrels")
	[ "$out" = "queries 1  docs 3  nDCG@10 $(awk 'BEGIN { l = log(2) / log(3); printf "%.4f", 2 * l / (2 + l) }')  MAP 0.2500  recall@100 0.5000" ] || { echo "rag-eval of three documents, $form: $out"; exit 1; }
done
sets=${SHARED:-../shared}/data/relevance
[ -d "$sets" ] || { echo "no judged sets at $sets"; exit 77; }
told= failed=0
# floor SET NDCG
floor() {
	local out ndcg
	out=$(tools/rag-eval "$sets/$1/corpus.jsonl.gz" "$sets/$1/queries.tsv" "$sets/$1/qrels.tsv") || { echo "rag-eval of $1: $out"; exit 1; }
	ndcg=$(sed -n 's/.*nDCG@10 \([0-9.]*\).*/\1/p' <<<"$out")
	awk "BEGIN { exit !(\"$ndcg\" != \"\" && $ndcg + 0 >= $2) }" || { echo "$1: nDCG@10 is $ndcg and must be $2: $out"; failed=1; }
	told="$told, $1 $ndcg"
}
floor scifact 0.700
floor cranfield 0.395
[ $failed -eq 0 ] || exit 1
echo "relevance: nDCG@10${told#,}"
