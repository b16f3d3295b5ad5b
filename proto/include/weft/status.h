/* SPDX-License-Identifier: Apache-2.0
 *
 * What a call can answer. Every public function that can fail returns a weft_status; 0 is success.
 */
#ifndef WEFT_STATUS_H
#define WEFT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WEFT_EXPORT __attribute__((visibility("default")))
#define WEFT_PRINTF(format_index, first_index) __attribute__((format(printf, format_index, first_index)))
#else
#define WEFT_EXPORT
#define WEFT_PRINTF(format_index, first_index)
#endif

#define WEFT_VERSION_MAJOR 0
#define WEFT_VERSION_MINOR 1
#define WEFT_VERSION_PATCH 0
#define WEFT_VERSION "0.1.0"

/*            name        value  text                                                                                 */
#define WEFT_STATUS_TABLE(X)                                                                                           \
    X(WEFT_OK, 0, "success")                                                                                           \
    X(WEFT_ENOMEM, 1, "out of memory")                                                                                 \
    X(WEFT_EINVAL, 2, "an argument is not valid")                                                                      \
    X(WEFT_ECONFIG, 3, "the configuration has problems")                                                               \
    X(WEFT_ERANGE, 4, "a value is out of range or does not fit")                                                       \
    X(WEFT_ESTATE, 5, "not possible in this state")                                                                    \
    X(WEFT_ESTALE, 6, "the token or the epoch is over")                                                                \
    X(WEFT_EAGAIN, 7, "not now, try again later")                                                                      \
    X(WEFT_ECORRUPT, 8, "the data is damaged or foreign")                                                              \
    X(WEFT_ELIMIT, 9, "a limit of this machine is too low")                                                            \
    X(WEFT_EKAFKA, 10, "Kafka reports a fatal error")                                                                  \
    X(WEFT_EHANDLER, 11, "a record failed for good and failure.policy is stop")                                        \
    X(WEFT_ESTUCK, 12, "a handler did not end within its deadline")                                                    \
    X(WEFT_EABANDONED, 13, "stopped at the deadline; unfinished records were left to the next owner")                  \
    X(WEFT_ESYSTEM, 14, "the operating system refused a call")                                                         \
    X(WEFT_ETIMEOUT, 15, "the deadline has passed")                                                                    \
    X(WEFT_EUNCOMMITTED, 16, "stopped; finished records could not be committed, and run again at the next owner")

typedef enum weft_status {
#define X(name, value, text) name = value,
    WEFT_STATUS_TABLE(X)
#undef X
} weft_status;

/* The text of a status, for any number; never NULL. Thread: any. */
WEFT_EXPORT const char *weft_status_text(weft_status status);

/* The version of the library that runs, "major.minor.patch". Thread: any. */
WEFT_EXPORT const char *weft_version(void);

#ifdef __cplusplus
}
#endif

#endif
