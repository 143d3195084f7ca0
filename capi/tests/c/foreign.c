/* Memory and threads of the caller: workspaces, calls that tasks share, and children of a fork. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { M = 96, N = 256, K = 512, TASKS = 3 };

static const zp_granularity TENSOR = {ZP_GRANULARITY_KIND_TENSOR, 0, 0, 0};

/* A product, and what it needs. */
struct product {
    uint8_t a[M * K];
    int8_t w[N * K];
    zp_params *a_params, *w_params;
    zp_weights *weights;
};

/* A call of it. */
struct call {
    const struct product *product;
    const zp_threads *threads;
    float *y;
};

static struct product PRODUCT;

static void prepare(struct product *p)
{
    const zp_codes u8 = {ZP_TYPE_U8, 0, 255}, i8 = {ZP_TYPE_I8, -128, 127};
    const zp_exec exec = {ZP_ISA_BEST, NULL};
    const float scale = 0.01F;
    /* (With a zero point of the weights, rows are summed: a product that needs memory.) */
    const int32_t a_zero_point = 100, w_zero_point = 5;
    zp_view w = {ZP_TYPE_I8, NULL, N, K, 0};
    size_t i;
    for (i = 0; i < M * K; ++i) p->a[i] = (uint8_t)(i * 37 % 256);
    for (i = 0; i < N * K; ++i) p->w[i] = (int8_t)(i * 91 % 251 - 125);
    w.data = p->w;
    OK(zp_params_new(u8, TENSOR, &scale, &a_zero_point, 1, &p->a_params, &message));
    OK(zp_params_new(i8, TENSOR, &scale, &w_zero_point, 1, &p->w_params, &message));
    OK(zp_weights_pack(&exec, ZP_TYPE_U8, w, p->w_params, ZP_ORDER_ROWS, NULL, &p->weights, &message));
}

static void multiply(const struct call *call)
{
    const struct product *p = call->product;
    zp_exec exec = {ZP_ISA_BEST, NULL};
    zp_view a = {ZP_TYPE_U8, NULL, M, K, 0};
    zp_view_mut y = {ZP_TYPE_F32, NULL, M, N, 0};
    exec.threads = call->threads;
    a.data = p->a;
    y.data = call->y;
    OK(zp_matmul(&exec, a, p->a_params, p->weights, zp_stage_dequantize(), y, &message));
}

static void in_scope(void *context)
{
    multiply(context);
}

static void shared(const zp_threads *threads, void *context)
{
    struct call *call = context;
    CHECK(threads->count == TASKS);
    call->threads = threads;
    multiply(call);
}

static void workspaces(const float *expected)
{
    float *y = calloc(M * N, sizeof *y);
    zp_workspace *unknown = NULL, *own = NULL, *lent = NULL;
    struct call call = {&PRODUCT, NULL, NULL};
    size_t needed = 0, again = 0;
    void *memory;
    call.y = y;
    OK(zp_workspace_new(NULL, 0, &unknown, &message));
    OK(zp_workspace_scope(unknown, in_scope, &call, &message));
    OK(zp_workspace_needed(unknown, &needed, &message));
    CHECK(needed > 0 && memcmp(y, expected, M * N * sizeof *y) == 0);

    OK(zp_workspace_free(unknown, &message));
    memory = malloc(needed + 63);
    OK(zp_workspace_new(NULL, needed, &own, &message));
    OK(zp_workspace_new(memory, needed + 63, &lent, &message));
    memset(y, 0, M * N * sizeof *y);
    OK(zp_workspace_scope(lent, in_scope, &call, &message));
    OK(zp_workspace_needed(lent, &again, &message));
    CHECK(again == needed && memcmp(y, expected, M * N * sizeof *y) == 0);
    memset(y, 0, M * N * sizeof *y);
    OK(zp_workspace_scope(own, in_scope, &call, &message));
    CHECK(memcmp(y, expected, M * N * sizeof *y) == 0);

    FAILS(ZP_ERROR_NULL, "operations is NULL", zp_workspace_scope(own, NULL, NULL, &message));
    FAILS(ZP_ERROR_NULL, "zp_workspace is NULL", zp_workspace_scope(NULL, in_scope, &call, &message));
    FAILS(ZP_ERROR_SIZE, "memory", zp_workspace_new(memory, (size_t)-1, &unknown, &message));
    FAILS(ZP_ERROR_MEMORY, "memory", zp_workspace_new(NULL, (size_t)-1 / 2, &unknown, &message));
    OK(zp_workspace_free(own, &message));
    OK(zp_workspace_free(lent, &message));
    OK(zp_workspace_free(NULL, &message));
    free(memory);
    free(y);
}

/* A scope inside a scope of the same workspace. */
static void nested(void *workspace)
{
    size_t bytes;
    FAILS(ZP_ERROR_HANDLE, "is in use", zp_workspace_scope(workspace, in_scope, NULL, &message));
    FAILS(ZP_ERROR_HANDLE, "is in use", zp_workspace_needed(workspace, &bytes, &message));
}

static void *task(void *shared_call)
{
    OK(zp_shared_call_run(shared_call, &message));
    return NULL;
}

static void shared_calls(const float *expected)
{
    float *y = calloc(M * N, sizeof *y);
    size_t i, round;
    for (round = 0; round < 50; ++round) {
        zp_shared_call *shared_call = NULL;
        struct call call = {&PRODUCT, NULL, NULL};
        pthread_t threads[TASKS];
        call.y = y;
        memset(y, 0, M * N * sizeof *y);
        OK(zp_shared_call_new(TASKS, shared, &call, &shared_call, &message));
        for (i = 0; i < TASKS; ++i) CHECK(pthread_create(&threads[i], NULL, task, shared_call) == 0);
        for (i = 0; i < TASKS; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(memcmp(y, expected, M * N * sizeof *y) == 0);
        /* One more task finds nothing to do. */
        OK(zp_shared_call_run(shared_call, &message));
        OK(zp_shared_call_free(shared_call, &message));
    }
    {
        zp_shared_call *shared_call = NULL;
        FAILS(ZP_ERROR_NULL, "operations is NULL", zp_shared_call_new(TASKS, NULL, NULL, &shared_call, &message));
        FAILS(ZP_ERROR_NULL, "zp_shared_call is NULL", zp_shared_call_run(NULL, &message));
    }
    free(y);
}

static volatile int stop = 0;

/* Multiplies until it is told to stop. */
static void *busy(void *unused)
{
    float *y = calloc(M * N, sizeof *y);
    struct call call = {&PRODUCT, NULL, NULL};
    (void)unused;
    call.y = y;
    while (!stop) multiply(&call);
    free(y);
    return NULL;
}

/* Children of a process whose other threads are in the middle of calls: serial calls work there. */
static void forks(const float *expected)
{
    pthread_t thread;
    int i;
    CHECK(pthread_create(&thread, NULL, busy, NULL) == 0);
    for (i = 0; i < 40; ++i) {
        int status = 1;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            static float y[M * N];
            struct call call = {&PRODUCT, NULL, NULL};
            call.y = y;
            alarm(60); /* ends a child that hangs */
            multiply(&call);
            /* By a signal, since tools that look for leaks at an exit count what belongs to the parent's threads. */
            raise(memcmp(y, expected, sizeof y) == 0 ? SIGUSR1 : SIGUSR2);
        }
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    }
    stop = 1;
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(void)
{
    float *expected = calloc(M * N, sizeof *expected);
    struct call call = {&PRODUCT, NULL, NULL};
    zp_workspace *workspace = NULL;
    prepare(&PRODUCT);
    call.y = expected;
    multiply(&call);
    workspaces(expected);
    OK(zp_workspace_new(NULL, 0, &workspace, &message));
    OK(zp_workspace_scope(workspace, nested, workspace, &message));
    OK(zp_workspace_free(workspace, &message));
    shared_calls(expected);
    forks(expected);
    zp_weights_free(PRODUCT.weights, NULL);
    zp_params_free(PRODUCT.w_params, NULL);
    zp_params_free(PRODUCT.a_params, NULL);
    free(expected);
    return 0;
}
