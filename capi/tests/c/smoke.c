/* Parameters, elementwise operations, random words and threads through the C interface. */
#include <math.h>
#include <pthread.h>

#include "check.h"

static const zp_granularity TENSOR = {ZP_GRANULARITY_KIND_TENSOR, 0, 0, 0};
static const zp_rounding NEAREST = {ZP_ROUNDING_KIND_NEAREST, 0, 0};
static const zp_scheme SYMMETRIC = {ZP_SCALE_FLOAT, ZP_OFFSET_ZERO, ZP_ROUNDING_KIND_NEAREST};
static const zp_view_mut NO_MASK = {ZP_TYPE_U8, NULL, 0, 0, 0};

static zp_view row(zp_type type, const void *data, size_t count)
{
    zp_view view = {type, NULL, 1, 0, 0};
    view.data = data;
    view.columns = count;
    return view;
}

static zp_view_mut row_mut(zp_type type, void *data, size_t count)
{
    zp_view_mut view = {type, NULL, 1, 0, 0};
    view.data = data;
    view.columns = count;
    return view;
}

static void version(void)
{
    char parts[64];
    snprintf(parts, sizeof parts, "%d.%d.%d", ZP_VERSION_MAJOR, ZP_VERSION_MINOR, ZP_VERSION_PATCH);
    CHECK(strcmp(parts, ZP_VERSION) == 0);
    CHECK(strcmp(zp_version(), ZP_VERSION) == 0);
    CHECK(strcmp(zp_error_description(ZP_ERROR_NONE), "no error") == 0);
    CHECK(strcmp(zp_error_description((zp_error)1), "an unknown error") == 0);
}

static void isas(zp_exec exec)
{
    zp_isa isa = ZP_ISA_BEST, best = ZP_ISA_BEST;
    OK(zp_isa_named("scalar", &isa, &message));
    CHECK(isa == ZP_ISA_SCALAR && strcmp(zp_isa_name(isa), "scalar") == 0 && zp_isa_is_supported(isa));
    OK(zp_isa_best(&best, &message));
    CHECK(best != ZP_ISA_BEST && zp_isa_is_supported(best) && zp_isa_is_supported(exec.isa));
    CHECK(zp_isa_name((zp_isa)99) == NULL && !zp_isa_is_supported((zp_isa)99));
}

static void quantize(zp_exec exec)
{
    const float x[6] = {0.1F, -0.4F, 0.9F, 0.3F, NAN, -0.7F};
    const zp_codes u8 = {ZP_TYPE_U8, 0, 255};
    const float scale = 0.01F;
    const int32_t zero_point = 100;
    uint8_t codes[6];
    float real[6], fake[6];
    uint8_t mask[6];
    zp_params *params = NULL;
    size_t i;
    OK(zp_params_new(u8, TENSOR, &scale, &zero_point, 1, &params, &message));
    OK(zp_quantize(&exec, row(ZP_TYPE_F32, x, 6), params, NEAREST, row_mut(ZP_TYPE_U8, codes, 6), &message));
    for (i = 0; i < 6; ++i) CHECK(codes[i] == (isnan(x[i]) ? 100 : 100 + (int)lrintf(x[i] / scale)));
    OK(zp_dequantize(&exec, row(ZP_TYPE_U8, codes, 6), params, row_mut(ZP_TYPE_F32, real, 6), &message));
    for (i = 0; i < 6; ++i) CHECK(real[i] == scale * (float)(codes[i] - 100));
    OK(zp_fake_quantize(&exec, row(ZP_TYPE_F32, x, 6), params, NEAREST, row_mut(ZP_TYPE_F32, fake, 6),
                        row_mut(ZP_TYPE_U8, mask, 6), &message));
    CHECK(memcmp(fake, real, sizeof real) == 0);
    CHECK(mask[0] == 1 && mask[4] == 0);
    memcpy(fake, x, sizeof x);
    OK(zp_fake_quantize(&exec, row(ZP_TYPE_F32, fake, 6), params, NEAREST, row_mut(ZP_TYPE_F32, fake, 6), NO_MASK, &message));
    CHECK(memcmp(fake, real, sizeof real) == 0);
    OK(zp_straight_through(&exec, row(ZP_TYPE_F32, x, 6), row(ZP_TYPE_F32, real, 6), params, row_mut(ZP_TYPE_F32, fake, 6),
                           &message));
    CHECK(fake[0] == real[0] && fake[4] == 0.0F);
    OK(zp_straight_through(&exec, row(ZP_TYPE_F32, x, 6), row(ZP_TYPE_F32, real, 6), params, row_mut(ZP_TYPE_F32, real, 6),
                           &message));
    CHECK(memcmp(fake, real, sizeof real) == 0);
    OK(zp_params_free(params, &message));
}

static void channels(zp_exec exec)
{
    /* Two rows of three in memory of stride 4: the gaps stay. */
    const float x[8] = {0.5F, -1.0F, 0.25F, 99.0F, 8.0F, -4.0F, 2.0F, 99.0F};
    const float dense[6] = {0.5F, -1.0F, 0.25F, 8.0F, -4.0F, 2.0F};
    const zp_codes narrow = {ZP_TYPE_I8, -127, 127};
    const size_t shape[2] = {2, 3};
    const int8_t expected[8] = {64, -127, 32, 7, 127, -64, 32, 7};
    int8_t codes[8] = {7, 7, 7, 7, 7, 7, 7, 7};
    zp_view strided = {ZP_TYPE_F32, NULL, 2, 3, 4};
    zp_view_mut strided_codes = {ZP_TYPE_I8, NULL, 2, 3, 4};
    zp_granularity rows, found;
    zp_range ranges[2];
    zp_params *params = NULL, *again = NULL;
    const float *scales = NULL, *other_scales = NULL;
    const int32_t *zero_points = NULL;
    zp_codes found_codes;
    size_t count = 0;
    strided.data = x;
    strided_codes.data = codes;
    OK(zp_granularity_channel(shape, 2, 0, &rows, &message));
    OK(zp_params_fit(&exec, row(ZP_TYPE_F32, dense, 6), narrow, SYMMETRIC, rows, &params, &message));
    OK(zp_quantize(&exec, strided, params, NEAREST, strided_codes, &message));
    CHECK(memcmp(codes, expected, 8) == 0);
    OK(zp_params_get(params, &found_codes, &found, &scales, &zero_points, &count, &message));
    CHECK(count == 2 && scales[0] == 1.0F / 127.0F && scales[1] == 8.0F / 127.0F && zero_points[1] == 0);
    CHECK(found_codes.type == ZP_TYPE_I8 && found_codes.min == -127 && found_codes.max == 127);
    CHECK(found.kind == ZP_GRANULARITY_KIND_CHANNEL && found.axis == 2 && found.inner == 3);
    OK(zp_ranges(&exec, row(ZP_TYPE_F32, dense, 6), rows, ranges, 2, &message));
    CHECK(ranges[0].min == -1.0F && ranges[1].max == 8.0F);
    OK(zp_params_from_ranges(narrow, SYMMETRIC, rows, ranges, 2, &again, &message));
    OK(zp_params_get(again, NULL, NULL, &other_scales, NULL, NULL, &message));
    CHECK(memcmp(scales, other_scales, 2 * sizeof *scales) == 0);
    OK(zp_params_free(params, &message));
    OK(zp_params_free(again, &message));
    OK(zp_params_free(NULL, &message));
}

static void packed(zp_exec exec)
{
    const float x[3] = {0.5F, -1.0F, 100.0F}, scale = 0.5F;
    const uint16_t halves[3] = {0x3f00, 0xbf80, 0x42c8}; /* bf16 */
    const int32_t zero_point = 8;
    const zp_codes u4 = {ZP_TYPE_U8, 0, 15};
    uint8_t bytes[2] = {0, 0}, codes[3], again[2] = {0, 0};
    float real[3];
    zp_params *params = NULL;
    OK(zp_params_new(u4, TENSOR, &scale, &zero_point, 1, &params, &message));
    OK(zp_quantize(&exec, row(ZP_TYPE_F32, x, 3), params, NEAREST, row_mut(ZP_TYPE_U4, bytes, 3), &message));
    CHECK(bytes[0] == 0x69 && bytes[1] == 0x8f);
    OK(zp_quantize(&exec, row(ZP_TYPE_BF16, halves, 3), params, NEAREST, row_mut(ZP_TYPE_U4, again, 3), &message));
    CHECK(memcmp(bytes, again, 2) == 0);
    OK(zp_dequantize(&exec, row(ZP_TYPE_U4, bytes, 3), params, row_mut(ZP_TYPE_F32, real, 3), &message));
    CHECK(real[0] == 0.5F && real[1] == -1.0F && real[2] == 3.5F);
    OK(zp_unpack_codes(&exec, row(ZP_TYPE_U4, bytes, 3), row_mut(ZP_TYPE_U8, codes, 3), &message));
    CHECK(codes[0] == 9 && codes[1] == 6 && codes[2] == 15);
    OK(zp_pack_codes(&exec, row(ZP_TYPE_U8, codes, 3), 8, row_mut(ZP_TYPE_U4, again, 3), &message));
    CHECK(memcmp(bytes, again, 2) == 0);
    OK(zp_params_free(params, &message));
}

static void words(zp_exec exec)
{
    const uint32_t expected[4] = {1127355824U, 2846674018U, 581910236U, 2109525913U};
    uint32_t found[4];
    float uniform[4];
    OK(zp_random_words(&exec, 42, 0, found, 4, &message));
    CHECK(memcmp(found, expected, sizeof expected) == 0);
    OK(zp_random_words(&exec, 42, 2, found, 2, &message));
    CHECK(memcmp(found, expected + 2, 8) == 0);
    OK(zp_random_uniform(&exec, 42, 0, uniform, 4, &message));
    CHECK(uniform[0] == (float)(expected[0] >> 8) / 16777216.0F);
}

/* Threads of the caller's: one for every task, the first on the calling thread. */
struct task {
    void (*run)(void *data, size_t index);
    void *data;
    size_t index;
};

static void *start(void *argument)
{
    struct task *task = argument;
    task->run(task->data, task->index);
    return NULL;
}

static void run(void *context, size_t tasks, void (*run_task)(void *data, size_t index), void *data)
{
    pthread_t threads[8];
    struct task all[8];
    size_t i;
    CHECK(tasks >= 1 && tasks <= 8);
    ++*(int *)context;
    for (i = 1; i < tasks; ++i) {
        all[i].run = run_task, all[i].data = data, all[i].index = i;
        CHECK(pthread_create(&threads[i], NULL, start, &all[i]) == 0);
    }
    run_task(data, 0);
    for (i = 1; i < tasks; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void stochastic(zp_exec exec)
{
    enum { COUNT = 1 << 20, CUT = 3001 };
    const zp_codes narrow = {ZP_TYPE_I8, -127, 127};
    const zp_scheme scheme = {ZP_SCALE_FLOAT, ZP_OFFSET_ZERO, ZP_ROUNDING_KIND_STOCHASTIC};
    zp_rounding rounding = {ZP_ROUNDING_KIND_STOCHASTIC, 42, 0};
    float *x = malloc(COUNT * sizeof *x);
    int8_t *whole = malloc(COUNT), *shards = malloc(COUNT), *threaded = malloc(COUNT);
    zp_params *params = NULL;
    int calls = 0;
    zp_threads threads = {NULL, 3, run};
    zp_exec on_threads = exec;
    size_t i;
    CHECK(x != NULL && whole != NULL && shards != NULL && threaded != NULL);
    for (i = 0; i < COUNT; ++i) x[i] = sinf((float)i);
    OK(zp_params_fit(&exec, row(ZP_TYPE_F32, x, COUNT), narrow, scheme, TENSOR, &params, &message));
    OK(zp_quantize(&exec, row(ZP_TYPE_F32, x, COUNT), params, rounding, row_mut(ZP_TYPE_I8, whole, COUNT), &message));
    OK(zp_quantize(&exec, row(ZP_TYPE_F32, x, CUT), params, rounding, row_mut(ZP_TYPE_I8, shards, CUT), &message));
    rounding.offset = CUT;
    OK(zp_quantize(&exec, row(ZP_TYPE_F32, x + CUT, COUNT - CUT), params, rounding,
                   row_mut(ZP_TYPE_I8, shards + CUT, COUNT - CUT), &message));
    CHECK(memcmp(whole, shards, COUNT) == 0);
    rounding.offset = 0;
    threads.context = &calls;
    on_threads.threads = &threads;
    OK(zp_quantize(&on_threads, row(ZP_TYPE_F32, x, COUNT), params, rounding, row_mut(ZP_TYPE_I8, threaded, COUNT), &message));
    CHECK(calls == 1 && memcmp(whole, threaded, COUNT) == 0);
    OK(zp_params_free(params, &message));
    free(x), free(whole), free(shards), free(threaded);
}

int main(void)
{
    const zp_isa all[] = {ZP_ISA_BEST, ZP_ISA_SCALAR, ZP_ISA_PORTABLE, ZP_ISA_AVX2, ZP_ISA_AVX512VNNI};
    size_t i;
    version();
    for (i = 0; i < LENGTH(all); ++i) {
        zp_exec exec = {ZP_ISA_BEST, NULL};
        exec.isa = all[i];
        if (!zp_isa_is_supported(exec.isa)) continue;
        isas(exec);
        quantize(exec);
        channels(exec);
        packed(exec);
        words(exec);
        if (i == 0) stochastic(exec);
    }
    return 0;
}
