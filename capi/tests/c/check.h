/* Checks of the test programs: the first that fails ends the program with its line. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zeropoint.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

/* A call that may not fail. Its last argument is `&message`. */
#define OK(call) \
    do { \
        zp_message message; \
        if (call) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, message.text); \
            exit(1); \
        } \
    } while (0)

/* A call that must fail with this number, and a message that contains `why`. */
#define FAILS(number, why, call) \
    do { \
        zp_message message; \
        zp_error error_; \
        memset(&message, 0, sizeof message); \
        error_ = (call); \
        if (error_ != (number) || strstr(message.text, why) == NULL) { \
            fprintf(stderr, "%s:%d: %u \"%s\"\n", __FILE__, __LINE__, (unsigned)error_, message.text); \
            exit(1); \
        } \
        if (getenv("SHOW_MESSAGES") != NULL) printf("%u %s: %s\n", (unsigned)error_, #number, message.text); \
    } while (0)

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

#endif
