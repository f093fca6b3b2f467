/* loop/answers: what was answered is answered again, to the very same request and no other, also
 * when many ask at once. */
#include "loop/answers.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rag_request request(const char *text)
{
	return (struct rag_request){.text = text, .len = strlen(text), .k = 10, .form = RAG_TEXT};
}

static bool finds(struct answers *as, struct rag_request rq, const char *want)
{
	struct buf out = BUF_INIT;
	bool found;

	(void)buf_puts(&out, "before ");
	found = answers_find(as, &rq, &out);
	if (found)
		cr_assert_str_eq(buf_str(&out) + 7, want);
	else
		cr_assert_str_eq(buf_str(&out), "before ");
	buf_release(&out);
	return found;
}

Test(answers, the_same_request_only)
{
	struct rag_request first = request("refund policy"), other;
	struct answers *as = answers_new();

	cr_assert_not_null(as);
	cr_expect_not(finds(as, first, ""));
	answers_keep(as, &first, "hits\n", 5);
	cr_expect(finds(as, first, "hits\n"));
	answers_keep(as, &first, "", 0); /* an answer may be empty */
	cr_expect(finds(as, first, ""));
#define DIFFERS(member, value)                                                                     \
	do {                                                                                       \
		other = first;                                                                     \
		other.member = (value);                                                            \
		cr_expect_not(finds(as, other, ""), "another " #member);                           \
	} while (0)
	DIFFERS(len, 6);
	DIFFERS(text, "refund politics");
	DIFFERS(k, 11);
	DIFFERS(after, 1);
	DIFFERS(form, RAG_JSON);
	DIFFERS(explain, true);
	DIFFERS(path, ""); /* none and an empty one are two requests */
	DIFFERS(mode, "");
	/* what stands in one member does not pass for another's */
	other = first;
	other.path = "policy";
	other.path_len = 6;
	answers_keep(as, &other, "below\n", 6);
	cr_expect(finds(as, other, "below\n"));
	other.mode = other.path;
	other.mode_len = 6;
	other.path = NULL;
	cr_expect_not(finds(as, other, ""));
	answers_free(as);
}

/* each slot holds one: newer ones come in place of older ones, long ones not at all */
Test(answers, are_bounded)
{
	struct answers *as = answers_new();
	char *text = malloc(ANSWER_KEPT_BYTES + 1), name[32];
	struct rag_request rq = request("long");
	int found = 0;

	memset(text, 'x', ANSWER_KEPT_BYTES);
	text[ANSWER_KEPT_BYTES] = '\0';
	answers_keep(as, &rq, text, ANSWER_KEPT_BYTES);
	cr_expect_not(finds(as, rq, ""));
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "question %d", i);
		rq = request(name);
		answers_keep(as, &rq, name, strlen(name));
		cr_assert(finds(as, rq, name));
	}
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "question %d", i);
		found += finds(as, request(name), name);
	}
	cr_expect_gt(found, 0);
	cr_expect_leq(found, ANSWERS_KEPT);
	free(text);
	answers_free(as);
}

static void *ask(void *arg)
{
	char name[32];

	for (int i = 0; i < 20000; i++) {
		(void)snprintf(name, sizeof(name), "%d", i % 100);
		struct rag_request rq = request(name);

		if (!finds(arg, rq, name))
			answers_keep(arg, &rq, name, strlen(name));
	}
	return NULL;
}

Test(answers, of_many_at_once)
{
	struct answers *as = answers_new();
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, ask, as), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	answers_free(as);
}
