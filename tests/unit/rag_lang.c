/* The query language of kolm-2. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "rag/lang.h"

static void expect(const char *text, const char *clauses)
{
	static const char kinds[] = "tqpfPXT", needs[] = " +-";
	struct rag_question q;
	struct buf out = BUF_INIT;

	cr_assert_eq(rag_question_parse(text, strlen(text), &q, NULL), 0, "%s", text);
	for (size_t i = 0; i < q.n; i++) {
		buf_addf(&out, "%s%c%c", i ? "|" : "", needs[q.at[i].need], kinds[q.at[i].kind]);
		buf_add(&out, q.at[i].text, q.at[i].len);
	}
	cr_expect_str_eq(buf_str(&out), clauses, "%s: %s", text, buf_str(&out));
	buf_release(&out);
}

static void refuse(const char *text, const char *part)
{
	struct rag_question q;
	struct err err = ERR_NONE;

	cr_expect_eq(rag_question_parse(text, strlen(text), &q, &err), -EINVAL, "%s", text);
	cr_expect(strstr(err.text, part), "%s: %s", text, err.text);
}

Test(rag_lang, parts)
{
	expect("", "");
	expect("two words", " ttwo words");
	expect("+must -not \"a phrase\" rest", "+tmust|-tnot|+qa phrase| trest");
	expect("pre* word~ -pre*", " ppre| fword|-ppre");
	expect("x path:docs/ ext:md title:\"a b\" -path:old/", " tx|+Pdocs/|+Xmd|+Ta b|-Pold/");
	expect("std::string note: a - b", " tstd::string note: a - b");
}

Test(rag_lang, what_is_not_well_formed_says_where)
{
	char many[1000] = "";

	refuse("a \"open", "quote at byte 2 is not closed");
	refuse("\" \"", "nothing between the quotes");
	refuse("a*", "at least 2 letters");
	refuse("path:", "path: needs a value");
	refuse("-a path:b", "nothing to look for");
	for (int i = 0; i < 65; i++)
		strcat(many, "+a ");
	refuse(many, "more than 64 parts");
}
