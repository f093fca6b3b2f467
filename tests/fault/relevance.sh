#!/bin/bash
# How well kolm-2 finds on the judged sets at hand: nDCG@10 must not fall below what issue and manual promise.
cd "$(dirname "$0")/../.." || exit 1
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
