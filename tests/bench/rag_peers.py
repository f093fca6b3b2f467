#!/usr/bin/env python3
"""rag_peers PEER FOLDER WORK [LIMIT]: index FOLDER/docs.txt (a document a line) in WORK and ask FOLDER/queries.txt, any word, the best ten.
Prints one line: build seconds, index bytes, p50 and p99 in microseconds, each question's best of three (LIMIT questions at most)."""

import os
import shutil
import sys
import time


def lines(folder):
    with open(folder + "/docs.txt") as f:
        for line in f:
            yield line[:-1]


def questions(folder, limit):
    with open(folder + "/queries.txt") as f:
        return [line.split() for line in f][:limit]


def fts5(folder, work):
    import sqlite3
    db = sqlite3.connect(work + "/fts5.db", isolation_level=None)
    db.execute("pragma journal_mode = off")
    db.execute("pragma synchronous = off")
    db.execute("create virtual table t using fts5(x, content='', tokenize='ascii')")
    db.execute("begin")
    db.executemany("insert into t(rowid, x) values (?, ?)", enumerate(lines(folder)))
    db.execute("commit")
    db.execute("insert into t(t) values ('optimize')")
    return lambda words: db.execute("select rowid from t where t match ? order by rank limit 10", (" OR ".join(words),)).fetchall()


def xapian(folder, work):
    import xapian as x
    db = x.WritableDatabase(work + "/xapian", x.DB_CREATE_OR_OVERWRITE | x.DB_BACKEND_GLASS | x.DB_NO_SYNC)
    for line in lines(folder):
        doc = x.Document()
        for word in line.split():
            doc.add_term(word)
        db.add_document(doc)
    db.commit()
    db.close()
    db = x.Database(work + "/xapian")
    ask = x.Enquire(db)
    ask.set_weighting_scheme(x.BM25Weight(1.5, 0, 1, 0.75, 0))

    def query(words):
        ask.set_query(x.Query(x.Query.OP_OR, words))
        return [m.docid for m in ask.get_mset(0, 10)]
    return query


def tantivy(folder, work):
    import tantivy as t
    os.mkdir(work + "/tantivy")
    schema = t.SchemaBuilder().add_text_field("x", stored=False, tokenizer_name="whitespace", index_option="freq").build()
    index = t.Index(schema, path=work + "/tantivy")
    writer = index.writer(heap_size=256 << 20, num_threads=1)
    for line in lines(folder):
        writer.add_document(t.Document(x=line))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    find = index.searcher()

    def query(words):
        terms = [(t.Occur.Should, t.Query.term_query(schema, "x", w, "freq")) for w in words]
        return find.search(t.Query.boolean_query(terms), 10, count=False).hits
    return query


def bm25s(folder, work):
    import bm25s as b
    texts = list(lines(folder))
    tokens = b.tokenize(texts, stopwords=[], token_pattern=r"\S+", show_progress=False)
    index = b.BM25(k1=1.5, b=0.75, method="lucene")
    index.index(tokens, show_progress=False)
    index.save(work + "/bm25s", show_progress=False)
    return lambda words: index.retrieve([words], k=10, show_progress=False)


def size(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(size(path + "/" + name) for name in os.listdir(path))


def main():
    peer, folder, work = sys.argv[1:4]
    limit = int(sys.argv[4]) if len(sys.argv) > 4 else 1000
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    start = time.monotonic()
    query = {"fts5": fts5, "xapian": xapian, "tantivy": tantivy, "bm25s": bm25s}[peer](folder, work)
    built = time.monotonic() - start
    times = []
    for words in questions(folder, limit):
        best = 1e9
        for _ in range(3):
            start = time.perf_counter()
            query(words)
            best = min(best, time.perf_counter() - start)
        times.append(best * 1e6)
    times.sort()
    print("%.1f %d %.1f %.1f" % (built, size(work), times[(len(times) - 1) // 2], times[(len(times) - 1) * 99 // 100]))
    shutil.rmtree(work)


main()
