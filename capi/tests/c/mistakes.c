/* Mistakes that a C user makes: each is a number and a message. The library has debug assertions. SHOW_MESSAGES=1 prints them. */
#include <math.h>

#include "check.h"

static const zp_granularity TENSOR = {ZP_GRANULARITY_KIND_TENSOR, 0, 0, 0};
static const zp_rounding NEAREST = {ZP_ROUNDING_KIND_NEAREST, 0, 0};
static const zp_codes U8 = {ZP_TYPE_U8, 0, 255};
static const zp_codes I8 = {ZP_TYPE_I8, -127, 127};
static const zp_activation NO_ACTIVATION = {ZP_ACTIVATION_KIND_NONE, 0, 0};

static const zp_exec exec = {ZP_ISA_SCALAR, NULL};

static zp_params *params_of(zp_codes codes, float scale)
{
    const int32_t zero_point = 0;
    zp_params *params = NULL;
    OK(zp_params_new(codes, TENSOR, &scale, &zero_point, 1, &params, &message));
    return params;
}

static void never_returns(void *context, size_t tasks, void (*task)(void *, size_t), void *data)
{
    (void)context, (void)tasks, (void)task, (void)data;
}

static void pointers_and_sizes(void)
{
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t codes[8] = {9, 9, 9, 9, 9, 9, 9, 9};
    zp_params *params = params_of(U8, 1.0F), *none = (zp_params *)(void *)x;
    zp_view input = {ZP_TYPE_F32, NULL, 1, 8, 0};
    zp_view_mut output = {ZP_TYPE_U8, NULL, 1, 8, 0};
    const zp_view_mut good_output = {ZP_TYPE_U8, codes, 1, 8, 0};
    zp_view good = input, other;
    zp_view_mut other_output;
    good.data = x;

    FAILS(ZP_ERROR_NULL, "exec is NULL", zp_quantize(NULL, good, params, NEAREST, good_output, &message));
    FAILS(ZP_ERROR_NULL, "x is NULL", zp_quantize(&exec, input, params, NEAREST, good_output, &message));
    FAILS(ZP_ERROR_NULL, "codes is NULL", zp_quantize(&exec, good, params, NEAREST, output, &message));
    FAILS(ZP_ERROR_NULL, "zp_params is NULL", zp_quantize(&exec, good, NULL, NEAREST, good_output, &message));
    CHECK(zp_quantize(&exec, good, NULL, NEAREST, good_output, NULL) == ZP_ERROR_NULL);
    FAILS(ZP_ERROR_NULL, "new handle", zp_params_new(U8, TENSOR, x, NULL, 0, NULL, &message));
    FAILS(ZP_ERROR_NULL, "zero_points is NULL", zp_params_new(U8, TENSOR, x, NULL, 1, &none, &message));
    CHECK(none == NULL);

    other = good, other.data = (const char *)x + 1, other.columns = 4;
    FAILS(ZP_ERROR_MISALIGNED, "not aligned to 4 bytes", zp_quantize(&exec, other, params, NEAREST, good_output, &message));

    other_output = good_output, other_output.columns = 7;
    FAILS(ZP_ERROR_LENGTH, "7 given, 8 expected", zp_quantize(&exec, good, params, NEAREST, other_output, &message));

    other_output = good_output, other_output.data = (uint8_t *)x + 31, other_output.columns = 1;
    FAILS(ZP_ERROR_OVERLAP, "codes is written and overlaps x", zp_quantize(&exec, good, params, NEAREST, other_output, &message));
    FAILS(ZP_ERROR_OVERLAP, "mask is written and overlaps out",
          zp_fake_quantize(&exec, good, params, NEAREST, (other_output.type = ZP_TYPE_F32, other_output.data = codes, other_output),
                           good_output, &message));

    other = good, other.rows = SIZE_MAX / 2, other.columns = 16;
    FAILS(ZP_ERROR_SIZE, "no memory holds", zp_quantize(&exec, other, params, NEAREST, good_output, &message));
    FAILS(ZP_ERROR_SIZE, "no memory holds", zp_params_new(U8, TENSOR, x, (const int32_t *)(void *)x, SIZE_MAX / 2, &none, &message));

    other = good, other.rows = 2, other.columns = 4, other.stride = 3;
    FAILS(ZP_ERROR_STRIDE, "stride 3", zp_quantize(&exec, other, params, NEAREST, good_output, &message));

    other_output = good_output, other_output.type = ZP_TYPE_I8;
    FAILS(ZP_ERROR_TYPE, "codes has elements of ZP_TYPE_I8; choose ZP_TYPE_U8",
          zp_quantize(&exec, good, params, NEAREST, other_output, &message));

    /* Nothing was written. */
    CHECK(codes[0] == 9 && codes[7] == 9 && x[7] == 8);
    OK(zp_params_free(params, &message));
}

static void values(void)
{
    const float nan_scale = NAN, x[2] = {1.0F, INFINITY};
    const int32_t zero = 0, far = 300;
    const float one = 1.0F;
    const zp_view row = {ZP_TYPE_F32, x, 1, 2, 0};
    zp_scheme scheme = {ZP_SCALE_FLOAT, ZP_OFFSET_INTEGER, ZP_ROUNDING_KIND_NEAREST};
    zp_exec wrong = exec;
    zp_threads threads = {NULL, 2, NULL};
    zp_isa isa = ZP_ISA_SCALAR;
    zp_params *params = NULL;
    zp_observer *observer = NULL;
    zp_codes codes = U8;

    FAILS(ZP_ERROR_ISA, "no ISA `mmx` on this CPU; choose one of: scalar, portable", zp_isa_named("mmx", &isa, &message));
    FAILS(ZP_ERROR_TEXT, "name is not UTF-8", zp_isa_named("\xff", &isa, &message));
    FAILS(ZP_ERROR_NULL, "name is NULL", zp_isa_named(NULL, &isa, &message));
    wrong.isa = (zp_isa)77;
    FAILS(ZP_ERROR_ENUM, "exec->isa: zp_isa has no value 77", zp_params_fit(&wrong, row, U8, scheme, TENSOR, &params, &message));
    wrong.isa = zp_isa_is_supported(ZP_ISA_NEON) ? ZP_ISA_AVX2 : ZP_ISA_NEON;
    FAILS(ZP_ERROR_ISA, "on this CPU", zp_params_fit(&wrong, row, U8, scheme, TENSOR, &params, &message));
    wrong = exec, wrong.threads = &threads;
    FAILS(ZP_ERROR_NULL, "exec->threads->run is NULL", zp_params_fit(&wrong, row, U8, scheme, TENSOR, &params, &message));
    threads.run = never_returns;

    FAILS(ZP_ERROR_SCALE, "scale NaN", zp_params_new(U8, TENSOR, &nan_scale, &zero, 1, &params, &message));
    FAILS(ZP_ERROR_ZERO_POINT, "zero point 300", zp_params_new(U8, TENSOR, &one, &far, 1, &params, &message));
    FAILS(ZP_ERROR_NON_FINITE, "contains inf, at index 1", zp_params_fit(&exec, row, U8, scheme, TENSOR, &params, &message));
    scheme.offset = (zp_offset)3;
    FAILS(ZP_ERROR_ENUM, "scheme.offset: zp_offset has no value 3", zp_params_fit(&exec, row, U8, scheme, TENSOR, &params, &message));
    codes.max = 256;
    FAILS(ZP_ERROR_CODES, "codes 0..=256", zp_params_new(codes, TENSOR, &one, &zero, 1, &params, &message));
    codes.type = ZP_TYPE_F32;
    FAILS(ZP_ERROR_TYPE, "choose ZP_TYPE_U8", zp_params_new(codes, TENSOR, &one, &zero, 1, &params, &message));
    FAILS(ZP_ERROR_METHOD, "no calibration method `middle`; choose one of: minmax",
          zp_observer_new("middle", U8, (scheme.offset = ZP_OFFSET_ZERO, scheme), 1, false, &observer, &message));
    CHECK(params == NULL && observer == NULL);
}

static void handles(void)
{
    const float x[4] = {1, 2, 3, 4};
    uint8_t codes[4];
    char nonsense[64] = {0};
    zp_view input = {ZP_TYPE_F32, NULL, 1, 4, 0};
    zp_view_mut output = {ZP_TYPE_U8, NULL, 1, 4, 0};
    zp_params *params = params_of(U8, 1.0F);
    zp_params *freed = params;
    zp_observer *observer = NULL;
    const zp_scheme scheme = {ZP_SCALE_FLOAT, ZP_OFFSET_INTEGER, ZP_ROUNDING_KIND_NEAREST};
    input.data = x, output.data = codes;

    OK(zp_params_free(params, &message));
    FAILS(ZP_ERROR_HANDLE, "this zp_params was freed", zp_quantize(&exec, input, freed, NEAREST, output, &message));
    FAILS(ZP_ERROR_HANDLE, "this zp_params was freed", zp_params_free(freed, &message));
    FAILS(ZP_ERROR_HANDLE, "never was a handle", zp_params_free((zp_params *)(void *)(((size_t)nonsense + 15) & ~(size_t)15), &message));
    FAILS(ZP_ERROR_MISALIGNED, "zp_params at", zp_params_free((zp_params *)(void *)((size_t)nonsense | 1), &message));

    OK(zp_observer_new("minmax", U8, scheme, 1, false, &observer, &message));
    FAILS(ZP_ERROR_HANDLE, "another kind", zp_quantize(&exec, input, (zp_params *)(void *)observer, NEAREST, output, &message));
    FAILS(ZP_ERROR_HANDLE, "another kind", zp_params_free((zp_params *)(void *)observer, &message));
    FAILS(ZP_ERROR_EMPTY, "what was observed is empty", zp_observer_range(observer, NULL, NULL, &message));
    OK(zp_observer_free(observer, &message));
    FAILS(ZP_ERROR_HANDLE, "borrowed", zp_stage_free((zp_stage *)(size_t)zp_stage_accumulators(), &message));
    FAILS(ZP_ERROR_HANDLE, "borrowed", zp_stage_free((zp_stage *)(size_t)zp_stage_dequantize(), &message));
}

static void products(void)
{
    const int8_t w[4] = {1, 2, 3, 4};
    const uint8_t x[4] = {1, 2, 3, 4};
    int32_t sums[4] = {7, 7, 7, 7};
    const zp_view wv = {ZP_TYPE_I8, w, 2, 2, 0}, xv = {ZP_TYPE_U8, x, 2, 2, 0}, short_x = {ZP_TYPE_U8, x, 4, 1, 0};
    zp_view_mut out = {ZP_TYPE_I32, NULL, 2, 2, 0}, wrong_type = {ZP_TYPE_F32, NULL, 2, 2, 0};
    zp_params *wp = params_of(I8, 0.5F), *xp = params_of(U8, 0.25F), *other = params_of(U8, 0.125F);
    zp_exec portable = exec;
    zp_weights *weights = NULL, *shared = (zp_weights *)(void *)sums;
    zp_stage *stage = NULL, *stochastic = NULL;
    uint8_t y[4];
    zp_view_mut yv = {ZP_TYPE_U8, NULL, 2, 2, 0};
    out.data = sums, wrong_type.data = sums, yv.data = y;
    portable.isa = ZP_ISA_PORTABLE;

    FAILS(ZP_ERROR_TYPE, "activations has elements of ZP_TYPE_F32",
          zp_weights_pack(&exec, ZP_TYPE_F32, wv, wp, ZP_ORDER_ROWS, NULL, &weights, &message));
    FAILS(ZP_ERROR_ENUM, "order: zp_order has no value 2",
          zp_weights_pack(&exec, ZP_TYPE_U8, wv, wp, (zp_order)2, NULL, &weights, &message));
    OK(zp_weights_pack(&exec, ZP_TYPE_U8, wv, wp, ZP_ORDER_ROWS, NULL, &weights, &message));
    FAILS(ZP_ERROR_NULL, "is NULL", zp_weights_share(NULL, &shared, &message));
    CHECK(shared == NULL);
    OK(zp_weights_share(weights, &shared, &message));
    OK(zp_weights_free(weights, &message));
    FAILS(ZP_ERROR_PACKED_ISA, "packed for `scalar`, the call runs on `portable`",
          zp_matmul(&portable, xv, xp, shared, zp_stage_accumulators(), out, &message));
    FAILS(ZP_ERROR_TYPE, "out has elements of ZP_TYPE_F32; choose ZP_TYPE_I32",
          zp_matmul(&exec, xv, xp, shared, zp_stage_accumulators(), wrong_type, &message));
    FAILS(ZP_ERROR_TYPE, "x_params has elements of ZP_TYPE_I8",
          zp_matmul(&exec, xv, wp, shared, zp_stage_accumulators(), out, &message));
    FAILS(ZP_ERROR_LENGTH, "1 given, 2 expected", zp_matmul(&exec, short_x, xp, shared, zp_stage_accumulators(), out, &message));
    OK(zp_stage_requantize_new(shared, xp, other, ZP_RULE_FIXED_POINT, NO_ACTIVATION, &stage, &message));
    FAILS(ZP_ERROR_OPERAND, "made for activations of another scale", zp_matmul(&exec, xv, other, shared, stage, yv, &message));
    FAILS(ZP_ERROR_ROUNDING, "needs Rule::Float", zp_stage_stochastic_new(stage, 1, 0, &stochastic, &message));
    FAILS(ZP_ERROR_TYPE, "a stage of codes", zp_stage_stochastic_new(zp_stage_accumulators(), 1, 0, &stochastic, &message));
    CHECK(stochastic == NULL && sums[0] == 7 && sums[3] == 7);
    OK(zp_matmul(&exec, xv, xp, shared, zp_stage_accumulators(), out, &message));
    CHECK(sums[0] == 5 && sums[1] == 11 && sums[2] == 11 && sums[3] == 25);
    OK(zp_stage_free(stage, &message));
    OK(zp_weights_free(shared, &message));
    FAILS(ZP_ERROR_HANDLE, "was freed", zp_weights_free(shared, &message));
    OK(zp_params_free(wp, &message));
    OK(zp_params_free(xp, &message));
    OK(zp_params_free(other, &message));
}

int main(void)
{
    pointers_and_sizes();
    values();
    handles();
    products();
    return 0;
}
