/*
 * A stream that is there is brought up to date, and keeps all that we do not know.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include "../../src/broker/stream_edit.h"

static char prefix[] = "ws", name[] = "websockets";
static const struct settings ours = {.stream = name,
	.prefix = prefix,
	.max_age = 604800000,
	.duplicate_window = 60000,
	.replicas = 1};

/* With single quotes for double ones. */
static json_t *parse(const char *s)
{
	char *text = strdup(s);
	json_t *doc;

	assert_non_null(text);
	for (char *p = text; (p = strchr(p, '\''));)
		*p = '"';
	doc = json_loads(text, 0, NULL);
	free(text);
	assert_non_null(doc);
	return doc;
}

static void edited(const char *before, const struct settings *s, const char *after)
{
	json_t *config = parse(before), *want = parse(after), *again;
	struct stream_edit e = {.config = config};
	char *text;

	stream_edit_needed(&e, s);
	stream_edit_limits(&e, s);
	assert_false(e.failed);
	assert_int_equal(e.changed, strcmp(before, after) != 0);
	text = json_dumps(config, JSON_COMPACT);
	assert_non_null(text);
	again = parse(text);
	if (!json_equal(again, want))
		fail_msg("%s", text);
	free(text);
	json_decref(again);
	json_decref(want);
	json_decref(config);
}

#define GOOD                                                                                       \
	"'subjects':['ws.>'],'retention':'workqueue','allow_direct':true,'discard':'new',"         \
	"'republish':{'src':'ws.recv.\\u003e','dest':'wslive.>'},'num_replicas':1,"                \
	"'duplicate_window':60000000000"

static void good_stays(void **state)
{
	(void)state;
	edited("{" GOOD ",'max_age':0}", &ours, "{" GOOD ",'max_age':0}");
	edited("{" GOOD ",'max_bytes':-1}", &ours, "{" GOOD ",'max_bytes':-1}");
}

static void unknown_stays(void **state)
{
	static const char later[] = "'later':{'list':[1,null,{'x':'\\u00e9\\n'}],'max':"
				    "9223372036854775807,'min':-9223372036854775808},"
				    "'odd':9007199254740993,'half':0.5";
	char before[600], after[900];

	(void)state;
	snprintf(before, sizeof(before), "{'num_replicas':1,'duplicate_window':60000000000,%s}",
		later);
	snprintf(after, sizeof(after),
		"{%s,'num_replicas':1,'duplicate_window':60000000000,'allow_direct':true,"
		"'discard':'new','republish':{'src':'ws.recv.>','dest':'wslive.>'}}",
		later);
	edited(before, &ours, after);
}

static void limits_are_raised_only(void **state)
{
	struct settings s = ours;

	(void)state;
	s.max_bytes = 9007199254740993;
	s.max_per_user = 10;
	s.replicas = 3;
	edited("{" GOOD ",'max_bytes':5,'max_msgs_per_subject':2,'max_age':1000000000}", &s,
		"{'subjects':['ws.>'],'retention':'workqueue','allow_direct':true,'discard':'new',"
		"'republish':{'src':'ws.recv.>','dest':'wslive.>'},'num_replicas':3,"
		"'duplicate_window':60000000000,'max_bytes':9007199254740993,"
		"'max_msgs_per_subject':10,'max_age':604800000000000,"
		"'discard_new_per_subject':true}");
	s.replicas = 1;
	edited("{" GOOD ",'max_bytes':9223372036854775807,'max_age':604800000000001}", &s,
		"{" GOOD ",'max_bytes':9223372036854775807,'max_age':604800000000001}");
}

static void says_to(const struct settings *s, const char *config, enum stream_result want)
{
	struct stream_state st;
	json_t *doc = parse(config);

	assert_int_equal(stream_edit_check(doc, s, &st), want);
	json_decref(doc);
}

static void says(const char *config, enum stream_result want)
{
	says_to(&ours, config, want);
}

static void is_it_ours(void **state)
{
	(void)state;
	says("{" GOOD "}", STREAM_OK);
	says("{" GOOD ",'mirror':null,'sealed':false}", STREAM_OK);
	says("{'retention':'workqueue','subjects':['ws.send.\\u003e','ws.recv.>']}", STREAM_OK);
	says("{'retention':'workqueue','subjects':['ws.send.>',7]}", STREAM_REFUSED);
	says("{'retention':'workqueue','subjects':'ws.>'}", STREAM_REFUSED);
	says("{'retention':true,'subjects':['ws.>']}", STREAM_REFUSED);
	says("{" GOOD ",'mirror':{}}", STREAM_REFUSED);
	says("{" GOOD ",'deny_delete':true}", STREAM_REFUSED);
	says("{'retention':'workqueue','subjects':['>'],'republish':{'src':'>','dest':'x'}}",
		STREAM_REFUSED);
	says("[]", STREAM_REFUSED);
}

/* A stream of some services has their subjects; those that it lacks are added, and none goes. */
static void services_have_subjects(void **state)
{
	static char chat[] = "chat", shop[] = "s%2Ehop", *services[] = {chat, shop};
	struct settings s = ours;
	json_t *list;
	char *text;

	(void)state;
	s.services = services;
	s.nservices = 2;
	list = stream_edit_subjects(&s);
	text = json_dumps(list, JSON_COMPACT);
	assert_string_equal(text, "[\"ws.send.chat.>\",\"ws.recv.chat.>\",\"ws.send.s%2Ehop.>\","
				  "\"ws.recv.s%2Ehop.>\"]");
	free(text);
	json_decref(list);
	edited("{" GOOD "}", &s, "{" GOOD "}"); /* ws.> has them all */
#define REST                                                                                       \
	"'allow_direct':true,'discard':'new','num_replicas':1,'duplicate_window':60000000000,"     \
	"'republish':{'src':'ws.recv.>','dest':'wslive.>'}"
	edited("{" REST
	       ",'subjects':['ws.*.chat.>','other','ws.send.s%2Ehop.*','ws.recv.s%2Ehop.>']}",
		&s,
		"{" REST
		",'subjects':['ws.*.chat.>','other','ws.send.s%2Ehop.*','ws.recv.s%2Ehop.>',"
		"'ws.send.s%2Ehop.>']}");
	edited("{" REST
	       ",'subjects':['ws.send.cha.>','ws.recv.chatter.>','*.*.s%2Ehop.>','ws.send']}",
		&s,
		"{" REST
		",'subjects':['ws.send.cha.>','ws.recv.chatter.>','*.*.s%2Ehop.>','ws.send',"
		"'ws.send.chat.>','ws.recv.chat.>']}");
	edited("{" REST "}", &s,
		"{" REST ",'subjects':['ws.send.chat.>','ws.recv.chat.>','ws.send.s%2Ehop.>',"
		"'ws.recv.s%2Ehop.>']}");
	/* Whether they are there is no question then. */
	says_to(&s, "{'retention':'workqueue','subjects':['x']}", STREAM_OK);
	says_to(&s, "{'retention':'limits','subjects':['ws.>']}", STREAM_REFUSED);
}

/* Without memory for the copy. */
static void no_memory_is_told(void **state)
{
	struct stream_edit e = {.config = NULL};

	(void)state;
	stream_edit_needed(&e, &ours);
	assert_true(e.failed);
}

static void serves(const char *config, bool yes)
{
	json_t *doc = parse(config);

	if (!json_object_get(doc, "subjects"))
		assert_int_equal(json_object_set_new(doc, "subjects", json_pack("[s]", "ws.>")), 0);
	assert_int_equal(stream_edit_serves(doc, &ours), yes);
	json_decref(doc);
}

static void changed_in_use(void **state)
{
	(void)state;
	serves("{'allow_direct':true,'discard':'new','republish':{'src':'x','dest':'y'}}", true);
	serves("{'allow_direct':true,'discard':'new','republish':{},'max_msgs_per_subject':-1}",
		true);
	serves("{'allow_direct':true,'discard':'new','republish':{},'max_msgs_per_subject':9,"
	       "'discard_new_per_subject':true}",
		true);
	serves("{'allow_direct':true,'discard':'new','republish':{},'max_msgs_per_subject':9}",
		false);
	serves("{'allow_direct':true,'discard':'old','republish':{}}", false);
	serves("{'allow_direct':true,'discard':'new','republish':{},'no_ack':true}", false);
	serves("{'discard':'new','republish':{}}", false);
	serves("{'allow_direct':true,'discard':'new','republish':{},'subjects':['ws.recv.>']}",
		false);
	serves("{'allow_direct':true,'discard':'new','republish':{},"
	       "'subjects':['ws.recv.>','*.send.>']}",
		true);
	serves("{'allow_direct':true,'discard':'new'}", false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_stays),
		cmocka_unit_test(unknown_stays),
		cmocka_unit_test(limits_are_raised_only),
		cmocka_unit_test(is_it_ours),
		cmocka_unit_test(changed_in_use),
		cmocka_unit_test(services_have_subjects),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
