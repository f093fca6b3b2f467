/* The text of files of every kind, and the pieces it is cut into. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "rag/chunk.h"
#include "rag/extract.h"

static struct rag_extract ex;

static int extract(const char *path, const char *data, size_t len)
{
	return rag_extract(rag_kind_of(path), data, len, &ex);
}

static void done(void)
{
	rag_extract_release(&ex);
}

static void expect_text(const char *path, const char *data, const char *text)
{
	cr_assert_eq(extract(path, data, strlen(data)), 0, "%s", path);
	cr_expect_str_eq(
		buf_str(&ex.text), text, "%s: [%s], not [%s]", path, buf_str(&ex.text), text);
}

/* the marks as "LEVEL:heading|..." */
static void expect_marks(const char *marks)
{
	const struct rag_mark *at = (const struct rag_mark *)ex.marks.data;
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < ex.marks.len / sizeof(*at); i++) {
		buf_addf(&out, "%s%u:", i ? "|" : "", at[i].level);
		cr_assert(at[i].pos + at[i].len <= ex.text.len);
		buf_add(&out, ex.text.data + at[i].pos, at[i].len);
	}
	cr_expect_str_eq(buf_str(&out), marks, "%s, not %s", buf_str(&out), marks);
	buf_release(&out);
}

static int collect(void *arg, const struct rag_chunk *ck)
{
	buf_addf(arg, "%llu-%llu %s: ", (unsigned long long)ck->from, (unsigned long long)ck->to,
		buf_str(ck->title));
	buf_add(arg, buf_str(&ex.text) + ck->start, ck->end - ck->start);
	return buf_puts(arg, "\n--\n");
}

static void expect_chunks(const char *chunks)
{
	struct buf out = BUF_INIT;

	cr_assert_eq(rag_chunks(&ex, collect, &out), 0);
	cr_expect_str_eq(buf_str(&out), chunks, "[%s], not [%s]", buf_str(&out), chunks);
	buf_release(&out);
}

TestSuite(rag_extract, .fini = done);

Test(rag_extract, html_is_stripped)
{
	expect_text("a.html",
		"<!doctype html><html><head><title>A &amp; B</title><style>p{x:1}</style>"
		"<script>if (a < b) document.write('<p>no</p>')</script></head><body>"
		"<h1>One  two</h1><p>caf&eacute; &#x41;&#66; a<b>b</b>c<br>next"
		"<!-- <p>gone</p> --><ul><li>x<li>y</ul><table><tr><td>1<td>2</table>",
		"A & B\n\nOne two\n\ncaf\xc3\xa9 AB abc\nnext\n\nx\ny\n\n1 2\n");
	expect_marks("1:A & B|1:One two");
}

Test(rag_extract, broken_html_is_text_all_the_same)
{
	expect_text(
		"a.htm", "a < b & c &nosuch; &#xffffff; <p", "a < b & c &nosuch; \xef\xbf\xbd\n");
	expect_text("a.html", "don&#146;t &#x96; &#150;&#128;",
		"don\xe2\x80\x99t \xe2\x80\x93 \xe2\x80\x93\xe2\x82\xac\n");
	expect_text("a.html", "<p title=\"a>b\">x</p><pre>a\n  b</pre><script>never closed",
		"x\n\na\n  b\n");
	expect_text(
		"a.html", "<h1>open <h2>next</h2> <a href='x'>link</a>", "open\n\nnext\n\nlink\n");
	expect_marks("1:open|2:next");
	expect_text(
		"a.html", "<p title = \"a>b\">x<!--> <i>y</i><!---> z<!-- --- > no -->", "x y z\n");
	cr_expect_eq(extract("a.html", "a\0b", 3), -ENODATA);
}

Test(rag_extract, elements_without_an_end_hide_nothing_behind_them)
{
	expect_text("a.xhtml",
		"<head><script src=\"a.js\"/><style media='x' /><title>T</title></head>"
		"<p>a<svg class=\"i\"/>b<script src=c.js></script>c</p><script>gone</script>",
		"T\n\nabc\n");
}

Test(rag_extract, json_is_written_by_key_path)
{
	expect_text("a.json", "{\"a\":{\"b c\":[1,true,null,\"two\\nlines\"]},\"d\":\"x\"}",
		"a.b c: 1\na.b c: true\na.b c: two\nlines\nd: x\n\n");
	expect_text("a.json", "[{\"id\":1,\"title\":\"First\"},{\"id\":2},7]",
		"First\nid: 1\ntitle: First\n\nid: 2\n\n7\n\n");
	expect_marks("0:|1:First|0:|0:");
	expect_chunks("0-0 First: First\nid: 1\ntitle: First\n--\n0-0 : id: 2\n--\n0-0 : 7\n--\n");
	/* what is no JSON is text, with its lines */
	expect_text("tsconfig.json", "{ // a remark\n}", "{ // a remark\n}");
	cr_expect(ex.has_lines);
}

Test(rag_extract, json_lines_are_records)
{
	expect_text("a.jsonl", "{\"q\":\"one\"}\n\nnot json\n{\"q\":\"two\"}",
		"q: one\n\nnot json\n\nq: two\n\n");
	expect_chunks("0-0 : q: one\n--\n0-0 : not json\n--\n0-0 : q: two\n--\n");
}

Test(rag_extract, json_cannot_grow_without_end)
{
	/* long paths over short values: 200 keys deep, 20,000 items */
	struct buf in = BUF_INIT;
	int rc;

	for (int i = 0; i < 100; i++)
		buf_puts(&in, "{\"kk\":");
	buf_putc(&in, '[');
	for (int i = 0; i < 200000; i++)
		buf_puts(&in, i ? ",1" : "1");
	buf_putc(&in, ']');
	for (int i = 0; i < 100; i++)
		buf_putc(&in, '}');
	rc = extract("deep.json", in.data, in.len);
	cr_expect_eq(rc, -EFBIG, "%d", rc);
	buf_release(&in);
}

Test(rag_extract, markdown_keeps_its_lines_and_marks_its_headings)
{
	expect_text("a.md",
		"---\ntitle: Front\n---\n# One #\ntext\n```\n# no\n```\nTwo\n===\n- - -\n## "
		"Three\n####### no\n#no\n",
		"---\ntitle: Front\n---\n# One #\ntext\n```\n# no\n```\nTwo\n===\n- - -\n## "
		"Three\n####### no\n#no\n");
	expect_marks("1:Front|1:One|1:Two|2:Three");
	cr_expect(ex.has_lines);
}

static void expect_headings(const char *data, const char *marks)
{
	expect_text("a.md", data, data);
	expect_marks(marks);
}

Test(rag_extract, headings_are_those_of_commonmark)
{
	expect_headings("# C#\n## F# #\n#\tTab\n### a##b ##  \n", "1:C#|2:F#|1:Tab|3:a##b");
	/* a fence ends at one as long, with nothing behind it */
	expect_headings("````md\n```\n# no\n```\n````\n# yes\n", "1:yes");
	expect_headings("```\n```sh\n# no\n```\n# yes\n", "1:yes");
	expect_headings("~~~ a`b\n```\n# no\n~~~\n# yes\n", "1:yes");
	expect_headings("```one``` and `two`\n# yes\n", "1:yes");
	/* rules, not underlines */
	expect_headings("- item\n---\n> said\n---\n\n    code\n---\nTwo\n---\n", "2:Two");
	expect_headings("*strong*\n===\n", "1:*strong*");
}

Test(rag_extract, pieces_are_cut_at_headings_and_know_their_lines)
{
	const char *body = "words and words and words and words and words and words and words and "
			   "words and words and words";
	char in[2000], out[2000];

	snprintf(in, sizeof(in), "# Top\n\n%s\n\n## Sub\n\n%s\n\n# Other\n%s\n", body, body, body);
	snprintf(out, sizeof(out),
		"1-3 Top: # Top\n\n%s\n--\n5-7 Top > Sub: ## Sub\n\n%s\n--\n9-10 Other: # "
		"Other\n%s\n--\n",
		body, body, body);
	cr_assert_eq(extract("a.md", in, strlen(in)), 0);
	expect_chunks(out);
	/* two headings with little between them are one piece */
	snprintf(in, sizeof(in), "# Top\n\n## Sub\n\n%s\n", body);
	snprintf(out, sizeof(out), "1-5 Top > Sub: # Top\n\n## Sub\n\n%s\n--\n", body);
	cr_assert_eq(extract("a.md", in, strlen(in)), 0);
	expect_chunks(out);
}

static int measure(void *arg, const struct rag_chunk *ck)
{
	size_t *at = arg;

	cr_assert_geq(ck->start, at[0]);
	cr_assert_gt(ck->end, ck->start);
	cr_assert_leq(ck->end - ck->start, RAG_CHUNK_MAX);
	for (size_t i = at[0]; i < ck->start; i++)
		cr_assert(strchr(" \n", ex.text.data[i]), "nothing is lost between pieces");
	cr_assert_neq((unsigned char)ex.text.data[ck->start] & 0xc0, 0x80);
	at[0] = ck->end;
	at[1]++;
	return 0;
}

Test(rag_extract, long_parts_are_cut_where_it_reads_well)
{
	struct buf in = BUF_INIT;
	size_t at[2] = {0};

	for (int i = 0; i < 300; i++)
		buf_addf(&in, "Sentence number %d of many.%s", i, i % 40 == 39 ? "\n\n" : " ");
	cr_assert_eq(extract("a.txt", in.data, in.len), 0);
	cr_assert_eq(rag_chunks(&ex, measure, at), 0);
	cr_expect_gt(at[1], 3);
	/* no place to cut at all */
	buf_reset(&in);
	for (int i = 0; i < 5000; i++)
		buf_puts(&in, "\xe4\xb8\xad");
	at[0] = at[1] = 0;
	cr_assert_eq(extract("a.txt", in.data, in.len), 0);
	cr_assert_eq(rag_chunks(&ex, measure, at), 0);
	cr_expect_eq(at[1], 4);
	buf_release(&in);
}

Test(rag_extract, the_columns_of_csv_belong_to_every_piece)
{
	expect_text("a.csv", "city,people\nOslo,1\n", "city,people\nOslo,1\n");
	expect_chunks("1-2 city people: city,people\nOslo,1\n--\n");
}

Test(rag_extract, binary_and_empty_files_are_no_text)
{
	cr_expect_eq(extract("a.txt", "a\0b", 3), -ENODATA);
	cr_expect_eq(extract("a.md", "", 0), -ENODATA);
	cr_expect_eq(extract("a.docx", "PK nonsense", 11), -ENODATA);
	expect_text("a.txt", "\xef\xbb\xbfhello", "hello");
}

/* an archive of name, text, name, text, ..., NULL */
static char *archive(size_t *len, const char *const *parts)
{
	zip_error_t why;
	zip_source_t *src = zip_source_buffer_create(NULL, 0, 0, &why);
	zip_t *z = zip_open_from_source(src, ZIP_TRUNCATE, &why);
	zip_stat_t st;
	char *out;

	cr_assert(z);
	zip_source_keep(src);
	for (size_t i = 0; parts[i]; i += 2)
		cr_assert(zip_file_add(z, parts[i],
				  zip_source_buffer(z, parts[i + 1], strlen(parts[i + 1]), 0),
				  0) >= 0);
	cr_assert_eq(zip_close(z), 0);
	cr_assert_eq(zip_source_open(src), 0);
	cr_assert_eq(zip_source_stat(src, &st), 0);
	out = malloc(st.size);
	cr_assert_eq(zip_source_read(src, out, st.size), (zip_int64_t)st.size);
	*len = st.size;
	zip_source_close(src);
	zip_source_free(src);
	return out;
}

static void expect_archive(const char *name, const char *const *parts, int rc, const char *text)
{
	size_t len;
	char *data = archive(&len, parts);

	cr_assert_eq(extract(name, data, len), rc);
	if (text)
		cr_expect_str_eq(buf_str(&ex.text), text, "[%s]", buf_str(&ex.text));
	free(data);
}

Test(rag_extract, docx)
{
	expect_archive("a.docx",
		(const char *[]){"word/document.xml",
			"<?xml version=\"1.0\"?><w:document "
			"xmlns:w=\"w\"><w:body><w:p><w:pPr><w:pStyle w:val=\"Heading2\"/></w:pPr>"
			"<w:r><w:t>Head</w:t></w:r></w:p><w:p><w:r><w:t>one "
			"</w:t><w:tab/><w:t>tw</w:t></w:r><w:r><w:t>o &amp; 3</w:t></w:r>"
			"<w:r><w:instrText>no</w:instrText></w:r></w:p></w:body></w:document>",
			NULL},
		0, "Head\none  two & 3\n");
	expect_marks("2:Head");
	expect_archive("a.docx", (const char *[]){"other.xml", "<a/>", NULL}, -ENODATA, NULL);
}

Test(rag_extract, odt)
{
	expect_archive("a.odt",
		(const char *[]){"content.xml",
			"<office:document-content xmlns:office=\"o\" xmlns:text=\"t\"><text:h "
			"text:outline-level=\"1\">Head</text:h>"
			"<text:p>one<text:s/>two "
			"<text:span>three</text:span></text:p></office:document-content>",
			NULL},
		0, "Head\none two three\n");
	expect_marks("1:Head");
}

/* blanks around a heading are no part of it, nor is what stands behind it */
Test(rag_extract, blanks_around_a_heading)
{
	expect_archive("a.docx",
		(const char *[]){"word/document.xml",
			"<w:document xmlns:w=\"w\"><w:body><w:p><w:pPr><w:pStyle "
			"w:val=\"Heading1\"/><w:tabs><w:tab/></w:tabs></w:pPr>"
			"<w:r><w:t>Intro  </w:t><w:br/></w:r></w:p>"
			"<w:p><w:r><w:t>Hello</w:t></w:r></w:p>"
			"<w:p><w:pPr><w:pStyle w:val=\"Heading2\"/></w:pPr><w:r><w:t>   "
			"</w:t></w:r></w:p><w:p><w:pPr><w:pStyle w:val=\"Heading2\"/></w:pPr>"
			"<w:r><w:t>Last </w:t></w:r></w:p></w:body></w:document>",
			NULL},
		0, " Intro\nHello\nLast\n");
	expect_marks("1:Intro|2:Last");
	expect_archive("a.odt",
		(const char *[]){"content.xml",
			"<d xmlns:text=\"t\"><text:h text:outline-level=\"1\">One<text:s/></text:h>"
			"<text:p>and more</text:p></d>",
			NULL},
		0, "One\nand more\n");
	expect_marks("1:One");
}

/* a spine of references to nothing, each looked for among all items */
Test(rag_extract, a_spine_of_nothing_is_no_work, .timeout = 15)
{
	enum { ITEMS = 5000, REFERENCES = 1000000 };
	struct buf package = BUF_INIT;

	buf_puts(&package, "<package><manifest>");
	for (int i = 0; i < ITEMS; i++)
		buf_addf(&package,
			"<item id=\"chapter-chapter-chapter-%d\" href=\"a.xhtml\" "
			"media-type=\"application/xhtml+xml\"/>",
			i);
	buf_puts(&package, "</manifest><spine><itemref idref=\"chapter-chapter-chapter-7\"/>");
	for (int i = 0; i < REFERENCES; i++)
		buf_puts(&package, "<itemref idref=\"chapter-chapter-chapter-x\"/>");
	buf_puts(&package, "</spine></package>");
	expect_archive("a.epub",
		(const char *[]){"META-INF/container.xml",
			"<container><rootfiles><rootfile full-path=\"p.opf\"/></rootfiles>"
			"</container>",
			"p.opf", package.data, "a.xhtml", "<html><p>alpha</p></html>", NULL},
		0, "alpha\n");
	buf_release(&package);
}

Test(rag_extract, epub)
{
	expect_archive("a.epub",
		(const char *[]){"META-INF/container.xml",
			"<container xmlns=\"c\"><rootfiles><rootfile "
			"full-path=\"OPS/p.opf\"/></rootfiles></container>",
			"OPS/p.opf",
			"<package "
			"xmlns:dc=\"d\"><metadata><dc:title>Book</dc:title></metadata><manifest>"
			"<item id=\"b\" href=\"b%20c.xhtml\" media-type=\"application/xhtml+xml\"/>"
			"<item id=\"a\" href=\"a.xhtml\" "
			"media-type=\"application/xhtml+xml\"/></manifest>"
			"<spine><itemref idref=\"a\"/><itemref idref=\"b\"/><itemref "
			"idref=\"gone\"/></spine></package>",
			"OPS/a.xhtml", "<html><body><h1>First</h1><p>alpha</p></body></html>",
			"OPS/b c.xhtml", "<html><body><p>beta</p></body></html>", NULL},
		0, "First\n\nalpha\n\nbeta\n");
	expect_chunks("0-0 Book > First: First\n\nalpha\n--\n0-0 Book: beta\n--\n");
}

Test(rag_extract, entities_do_not_explode)
{
	expect_archive("a.odt",
		(const char *[]){"content.xml",
			"<!DOCTYPE d [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b "
			"\"&a;&a;&a;&a;&a;&a;&a;&a;\">"
			"<!ENTITY f SYSTEM \"file:///etc/passwd\">]>"
			"<d xmlns:text=\"t\"><text:p>x&b;&f;y</text:p></d>",
			NULL},
		0, "xy\n");
}

Test(rag_extract, a_bomb_is_refused)
{
	struct buf xml = BUF_INIT;

	buf_puts(&xml, "<d xmlns:text=\"t\"><text:p>");
	cr_assert_eq(buf_reserve(&xml, (size_t)RAG_TEXT_MAX + 100), 0);
	memset(xml.data + xml.len, 'a', RAG_TEXT_MAX);
	xml.len += RAG_TEXT_MAX;
	buf_puts(&xml, "</text:p></d>");
	expect_archive("a.odt", (const char *[]){"content.xml", xml.data, NULL}, -EFBIG, NULL);
	buf_release(&xml);
}
