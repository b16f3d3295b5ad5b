/* SPDX-License-Identifier: Apache-2.0
 *
 * examples/deploy and docs/operations.md: the tools that read these files accept them, and every metric in them is one
 * of proto/metrics.def. tests/system/test_prometheus.c asks a real server whether their expressions have data.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weft/config.h>

#include "dashboard.h"
#include "exposition.h"
#include "must.h"

TestSuite(deploy, .timeout = 60);

enum { FILE_BYTES = 1 << 18 };

static const char deploy[] = WEFT_SOURCE_DIR "/examples/deploy";
static const char operations[] = WEFT_SOURCE_DIR "/docs/operations.md";

static char *read_file(const char *path) {
    FILE *file = fopen(path, "r");
    MUST(file, "%s is missing", path);
    char *text = must_alloc(FILE_BYTES, 1);
    MUST(fread(text, 1, FILE_BYTES - 1, file) < FILE_BYTES - 1, "%s is too long", path);
    fclose(file);
    return text;
}

static char *read_deploy(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", deploy, name);
    return read_file(path);
}

static void expect_command(const char *command) {
    char line[4096], said[4096];
    snprintf(line, sizeof line, "exec 2>&1; cd '%s' && %s", deploy, command);
    FILE *pipe = popen(line, "r");
    cr_assert_not_null(pipe);
    said[fread(said, 1, sizeof said - 1, pipe)] = '\0';
    cr_expect_eq(pclose(pipe), 0, "%s:\n%s", command, said);
}

static bool has_program(const char *name) {
    char command[128];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", name);
    return system(command) == 0;
}

Test(deploy, promtool__configuration_and_rules__are_accepted) {
    if (!has_program("promtool")) cr_skip_test("no promtool here");
    expect_command("promtool check config prometheus.yml");
    expect_command("promtool check rules --lint=all --lint-fatal recording.yml alerts.yml");
}

Test(deploy, promtool__unit_tests_of_the_rules__pass) {
    if (!has_program("promtool")) cr_skip_test("no promtool here");
    expect_command("promtool test rules rules_test.yml");
}

/* As recording rules, because promtool checks expressions only there. */
Test(deploy, promtool__expressions_of_the_dashboard__are_accepted) {
    if (!has_program("promtool")) cr_skip_test("no promtool here");
    dashboard_expression *list;
    char path[1024], command[1200], rules[] = "/tmp/weft-rules-XXXXXX";
    snprintf(path, sizeof path, "%s/dashboard.json", deploy);
    size_t count = dashboard_read(path, &list);
    cr_assert_gt(count, 40);
    FILE *file = fdopen(mkstemp(rules), "w");
    MUST(file, "no file");
    fprintf(file, "groups:\n  - name: dashboard\n    rules:\n");
    for (size_t i = 0; i < count; i++) {
        cr_expect(!strchr(list[i].text, '\''), "%s: a quote", list[i].text);
        fprintf(file, "      - record: panel:expression:%zu\n        expr: '%s'\n", i, list[i].text);
    }
    fclose(file);
    snprintf(command, sizeof command, "promtool check rules %s", rules);
    expect_command(command);
    unlink(rules);
    dashboard_free(list, count);
}

/* --- alerts */

/* The next "- alert: NAME". */
static const char *next_alert(const char *from, char *ret_name, size_t name_bytes) {
    static const char head[] = "- alert: ";
    const char *at = strstr(from, head);
    if (!at) return NULL;
    at += sizeof head - 1;
    snprintf(ret_name, name_bytes, "%.*s", (int)strcspn(at, "\n"), at);
    return at;
}

Test(deploy, alerts__each__has_a_unit_test_and_a_paragraph) {
    char *alerts = read_deploy("alerts.yml"), *tests = read_deploy("rules_test.yml"), *page = read_file(operations);
    char name[64], text[256];
    size_t count = 0;
    for (const char *at = alerts; (at = next_alert(at, name, sizeof name)); count++) {
        snprintf(text, sizeof text, "\n### %s\n", name);
        cr_expect(strstr(page, text), "docs/operations.md has no paragraph \"### %s\"", name);
        snprintf(text, sizeof text, "- alertname: %s\n        eval_time: ", name);
        const char *quiet = strstr(tests, text), *fires = quiet ? strstr(quiet + 1, text) : NULL;
        cr_expect(fires, "%s: not tested quiet and firing", name);
        size_t bytes = (size_t)snprintf(text, sizeof text, "runbook: docs/operations.md#");
        for (const char *c = name; *c; c++) text[bytes++] = (char)tolower(*c);
        text[bytes] = '\0';
        const char *next = strstr(at, "- alert: "), *book = strstr(at, text);
        cr_expect(book && (!next || book < next), "%s does not name its paragraph", name);
    }
    cr_assert_gt(count, 10);
    free(alerts);
    free(tests);
    free(page);
}

/* --- names */

static bool is_in_table(const char *name, size_t bytes) {
    static const char *const parts[] = {"_bucket", "_sum", "_count"};
    for (size_t i = 0; i < wf_metric_count; i++) {
        size_t length = strlen(wf_metrics[i].name);
        if (bytes < length || strncmp(wf_metrics[i].name, name, length) != 0) continue;
        if (bytes == length) return true;
        for (size_t j = 0; j < 3 && wf_metrics[i].type == WF_METRIC_HISTOGRAM; j++)
            if (bytes - length == strlen(parts[j]) && strncmp(name + length, parts[j], bytes - length) == 0)
                return true;
    }
    return false;
}

static bool is_recorded(const char *recording, const char *name, size_t bytes) {
    char line[256];
    snprintf(line, sizeof line, "- record: %.*s\n", (int)bytes, name);
    return strstr(recording, line) != NULL;
}

/* Every word that looks like a metric, or like a recorded one, is one. Returns how many there were. */
static size_t check_names(const char *where, const char *text, const char *recording) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_:";
    size_t count = 0;
    for (const char *at = text; *at;) {
        size_t bytes = strspn(at, letters);
        if (bytes == 0) {
            at++;
            continue;
        }
        bool recorded = strncmp(at, "job_topic", 9) == 0 && memchr(at, ':', bytes) != NULL;
        bool metric = strncmp(at, "consumer_", 9) == 0 || strncmp(at, "process_", 8) == 0;
        if (metric && at[bytes - 1] == ':') bytes--; /* of a sentence */
        if (recorded || metric) {
            cr_expect(recorded ? is_recorded(recording, at, bytes) : is_in_table(at, bytes), "%s: no such series: %.*s",
                      where, (int)bytes, at);
            count++;
        }
        at += bytes;
    }
    return count;
}

Test(deploy, names__of_series__are_those_of_the_table) {
    char *recording = read_deploy("recording.yml");
    static const char *const files[] = {"recording.yml", "alerts.yml", "rules_test.yml", "dashboard.json"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *text = read_deploy(files[i]);
        cr_expect_gt(check_names(files[i], text, recording), 10);
        free(text);
    }
    char *page = read_file(operations);
    cr_expect_gt(check_names("docs/operations.md", page, recording), wf_metric_count);
    free(page);
    free(recording);
}

Test(deploy, operations__every_metric__has_its_row) {
    char *page = read_file(operations), text[256];
    for (size_t i = 0; i < wf_metric_count; i++) {
        snprintf(text, sizeof text, "\n| `%s` |", wf_metrics[i].name);
        const char *row = strstr(page, text);
        cr_expect(row, "docs/operations.md has no row for %s", wf_metrics[i].name);
        cr_expect(!row || !strstr(row + 1, text), "docs/operations.md has two rows for %s", wf_metrics[i].name);
    }
    free(page);
}

/* --- units and their configuration */

Test(deploy, units__systemd__accepts_them) {
    if (!has_program("systemd-analyze")) cr_skip_test("no systemd-analyze here");
    /* The programs are not installed where the units say. */
    expect_command("set -e; D=$(mktemp -d); for unit in *.service; do "
                   "sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' \"$unit\" >\"$D/$unit\"; "
                   "systemd-analyze verify --man=no \"$D/$unit\"; "
                   "systemd-analyze security --offline=true --threshold=20 --no-pager \"$D/$unit\" >\"$D/said\" || "
                   "{ tail -1 \"$D/said\"; exit 1; }; "
                   "for line in Type=notify NotifyAccess=main WatchdogSec= RestartPreventExitStatus=2; do "
                   "grep -q \"^$line\" \"$unit\" || { echo \"$unit: no $line\"; exit 1; }; done; done; rm -r \"$D\"");
}

/* The units as they are shipped, hardening and all; the steps are in the script. Not in the system tier, because
 * sanitizers need what the units do not allow. */
Test(deploy, units__under_a_systemd_of_their_own__start_reload_are_watched_and_stop, .timeout = 180) {
    static char said[1 << 16];
    FILE *script = popen("exec bash '" WEFT_SOURCE_DIR "/tests/support/systemd.sh' '" WEFT_BUILD_DIR
                         "' '" WEFT_SOURCE_DIR "' 2>&1",
                         "r");
    cr_assert_not_null(script);
    said[fread(said, 1, sizeof said - 1, script)] = '\0';
    int status = pclose(script);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) cr_skip_test("%s", said);
    cr_assert_eq(status, 0, "%s", said);
}

Test(deploy, sidecar_configuration__as_it_is__has_no_problems) {
    weft_config *config;
    char path[1024];
    snprintf(path, sizeof path, "%s/weft-sidecar.conf", deploy);
    cr_assert_eq(weft_config_new(&config), WEFT_OK);
    weft_config_set(config, "engine", "process"); /* as weft-sidecar does */
    cr_assert_eq(weft_config_load_file(config, path), WEFT_OK);
    char *problems = weft_config_problems(config);
    cr_assert_null(problems, "%s", problems);
    weft_config_free(&config);
}
