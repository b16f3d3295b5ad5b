/* SPDX-License-Identifier: Apache-2.0
 *
 * A real broker of a test's own, for those that restart it or set it up otherwise (tests/kafka/broker.sh). It outlives
 * a test that fails, for whoever looks why; tests/run.sh ends it then.
 */
#ifndef SUPPORT_OWN_BROKER_H
#define SUPPORT_OWN_BROKER_H

typedef struct own_broker {
    char bootstrap[64];
    char pid_file[256];
} own_broker;

/* `properties`: of the server, "name=value ..."; NULL: none. */
void own_broker_start(own_broker *self, const char *properties);
void own_broker_stop(const own_broker *self);

/* End it in order and start it again on its data. Returns when nobody listens any more, own_broker_await_restart() when
 * it answers again. */
typedef struct own_broker_restart own_broker_restart;
own_broker_restart *own_broker_begin_restart(const own_broker *self);
void own_broker_await_restart(own_broker_restart **restart);

#endif
