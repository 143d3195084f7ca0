/* Weights that are written, mapped and multiplied where they are: products are those of the weights that were written. */
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

enum { ROWS = 3, DEPTH = 128, OUTPUTS = 20 };

static const zp_granularity TENSOR = {ZP_GRANULARITY_KIND_TENSOR, 0, 0, 0};
static const zp_exec BEST = {ZP_ISA_BEST, NULL}, SCALAR = {ZP_ISA_SCALAR, NULL};

static zp_params *x_params, *w_params;
static uint8_t x[ROWS * DEPTH];
static int8_t w[OUTPUTS * DEPTH];
static float reals[OUTPUTS * DEPTH];

static void make_operands(void)
{
    const zp_codes u8 = {ZP_TYPE_U8, 0, 255}, i8 = {ZP_TYPE_I8, -127, 127};
    const float scale = 0.5F;
    const int32_t three = 3, zero = 0;
    size_t i;
    for (i = 0; i < sizeof x; ++i) x[i] = (uint8_t)(i * 37);
    for (i = 0; i < sizeof w; ++i) w[i] = (int8_t)((int)(i * 29 % 255) - 127), reals[i] = sinf(0.37F * (float)i);
    OK(zp_params_new(u8, TENSOR, &scale, &three, 1, &x_params, &message));
    OK(zp_params_new(i8, TENSOR, &scale, &zero, 1, &w_params, &message));
}

static zp_weights *pack(zp_exec exec)
{
    const zp_view codes = {ZP_TYPE_I8, w, OUTPUTS, DEPTH, 0};
    zp_weights *weights = NULL;
    OK(zp_weights_pack(&exec, ZP_TYPE_U8, codes, w_params, ZP_ORDER_ROWS, NULL, &weights, &message));
    return weights;
}

static zp_group_weights *pack_group(zp_exec exec)
{
    const zp_view values = {ZP_TYPE_F32, reals, OUTPUTS, DEPTH, 0};
    const zp_group_scheme scheme = {4, 32, false, false, false};
    zp_stored_weights *stored = NULL;
    zp_group_weights *weights = NULL;
    OK(zp_stored_weights_quantize(&exec, values, scheme, &stored, &message));
    OK(zp_group_weights_pack(&exec, stored, &weights, &message));
    OK(zp_stored_weights_free(stored, &message));
    return weights;
}

static zp_view_mut floats(float *y)
{
    zp_view_mut view = {ZP_TYPE_F32, NULL, ROWS, OUTPUTS, 0};
    view.data = y;
    return view;
}

/* The products by both weights, which are freed. */
static void multiply_and_free(zp_weights *weights, zp_group_weights *group, float y[2][ROWS * OUTPUTS])
{
    const zp_view codes = {ZP_TYPE_U8, x, ROWS, DEPTH, 0};
    const zp_group_activations activations = {{ZP_TYPE_F32, reals, ROWS, DEPTH, 0}, NULL, ZP_OFFSET_ZERO, 0};
    OK(zp_matmul(&BEST, codes, x_params, weights, zp_stage_dequantize(), floats(y[0]), &message));
    OK(zp_group_matmul(&BEST, &activations, group, NULL, NULL, floats(y[1]), &message));
    OK(zp_weights_free(weights, &message));
    OK(zp_group_weights_free(group, &message));
}

static int write_to_file(void *context, const void *bytes, size_t length)
{
    return fwrite(bytes, 1, length, (FILE *)context) == length ? 0 : -1;
}

static int fail(void *context, const void *bytes, size_t length)
{
    (void)bytes, (void)length;
    return ++*(int *)context == 2 ? 5 : 0;
}

/* A file of two weights, and its bytes as the writer copies them. */
static uint8_t *write_archive(zp_exec exec, const char *path, size_t *size)
{
    FILE *file = fopen(path, "wb");
    zp_sink sink = {NULL, write_to_file}, failing = {NULL, fail}, none = {NULL, NULL};
    zp_view_mut room = {ZP_TYPE_U8, NULL, 1, 0, 0};
    zp_archive_writer *writer = NULL;
    zp_weights *weights = pack(exec);
    zp_group_weights *group = pack_group(exec);
    int calls = 0;
    CHECK(file != NULL);
    OK(zp_archive_writer_new(&writer, &message));
    OK(zp_archive_writer_add(writer, "layer.0", weights, &message));
    OK(zp_archive_writer_add_group(writer, "layer.1", group, &message));
    FAILS(ZP_ERROR_FILE, "weights of this name, type and ISA", zp_archive_writer_add(writer, "layer.0", weights, &message));
    FAILS(ZP_ERROR_NULL, "zp_weights is NULL", zp_archive_writer_add(writer, "layer.2", NULL, &message));
    /* The writer keeps them. */
    OK(zp_weights_free(weights, &message));
    OK(zp_group_weights_free(group, &message));

    sink.context = file, failing.context = &calls;
    OK(zp_archive_writer_write(writer, sink, &message));
    CHECK(fclose(file) == 0);
    FAILS(ZP_ERROR_SINK, "returned 5", zp_archive_writer_write(writer, failing, &message));
    CHECK(calls == 2);
    FAILS(ZP_ERROR_NULL, "sink.write", zp_archive_writer_write(writer, none, &message));

    OK(zp_archive_writer_size(writer, size, &message));
    room.data = malloc(*size), room.columns = *size - 1;
    CHECK(room.data != NULL);
    FAILS(ZP_ERROR_LENGTH, "out", zp_archive_writer_copy(writer, room, &message));
    room.columns = *size;
    OK(zp_archive_writer_copy(writer, room, &message));
    OK(zp_archive_writer_free(writer, &message));
    return (uint8_t *)room.data;
}

typedef struct {
    void *bytes;
    size_t length;
    int unmapped;
} mapping;

static void unmap(void *context)
{
    mapping *mapped = (mapping *)context;
    CHECK(munmap(mapped->bytes, mapped->length) == 0);
    ++mapped->unmapped;
}

static void map(const char *path, size_t expected, mapping *mapped)
{
    const int file = open(path, O_RDONLY);
    CHECK(file >= 0 && lseek(file, 0, SEEK_END) == (off_t)expected);
    mapped->bytes = mmap(NULL, expected, PROT_READ, MAP_SHARED, file, 0);
    mapped->length = expected, mapped->unmapped = 0;
    CHECK(mapped->bytes != MAP_FAILED && close(file) == 0);
}

static void written_mapped_and_multiplied(zp_exec exec, const char *path)
{
    static const char *const names[3] = {"layer.0", "layer.1", NULL};
    float expected[2][ROWS * OUTPUTS], y[2][ROWS * OUTPUTS];
    size_t size = 0, i;
    uint8_t *copy = write_archive(exec, path, &size);
    const bool repacks = exec.isa != ZP_ISA_BEST;
    mapping mapped;
    zp_release release = {NULL, unmap};
    zp_archive *archive = NULL, *copied = NULL;
    zp_weights *weights = NULL;
    zp_group_weights *group = NULL;
    multiply_and_free(pack(BEST), pack_group(BEST), expected);

    map(path, size, &mapped), release.context = &mapped;
    CHECK(memcmp(mapped.bytes, copy, size) == 0);
    /* What fails leaves the mapping to the caller. */
    FAILS(ZP_ERROR_FILE, "another length than it says", zp_archive_open(mapped.bytes, size - 1, &release, &archive, &message));
    CHECK(archive == NULL && mapped.unmapped == 0);
    OK(zp_archive_open(mapped.bytes, size, &release, &archive, &message));
    OK(zp_archive_verify(archive, &message));
    for (i = 0; i < LENGTH(names); ++i) {
        const char *name = "";
        OK(zp_archive_name(archive, i, &name, &message));
        CHECK(names[i] == NULL ? name == NULL : strcmp(name, names[i]) == 0);
    }
    OK(zp_archive_weights(&BEST, archive, names[0], ZP_TYPE_U8, ZP_TYPE_I8, repacks, &weights, &message));
    OK(zp_archive_group_weights(&BEST, archive, names[1], repacks, &group, &message));
    /* Weights keep the bytes, unless they were packed again. */
    OK(zp_archive_free(archive, &message));
    CHECK(mapped.unmapped == (repacks ? 1 : 0));
    multiply_and_free(weights, group, y);
    CHECK(mapped.unmapped == 1);
    CHECK(memcmp(y, expected, sizeof y) == 0);

    /* The caller's memory, without a function, from wherever it is copied. */
    OK(zp_archive_copied(copy, size, &copied, &message));
    free(copy);
    OK(zp_archive_weights(&BEST, copied, names[0], ZP_TYPE_U8, ZP_TYPE_I8, repacks, &weights, &message));
    OK(zp_archive_group_weights(&BEST, copied, names[1], repacks, &group, &message));
    OK(zp_archive_free(copied, &message));
    multiply_and_free(weights, group, y);
    CHECK(memcmp(y, expected, sizeof y) == 0);
}

/* A file that is not what it was, or has not what is asked for. */
static void broken_files(const char *path)
{
    size_t size = 0;
    uint8_t *bytes = write_archive(SCALAR, path, &size), *aligned = NULL;
    zp_archive *archive = NULL;
    zp_weights *weights = NULL;
    zp_group_weights *group = NULL;
    CHECK(posix_memalign((void **)&aligned, 64, size + 64) == 0);
    memcpy(aligned, bytes, size);

    OK(zp_archive_open(aligned, size, NULL, &archive, &message));
    FAILS(ZP_ERROR_FILE, "the archive: it has no weights of this name",
          zp_archive_weights(&SCALAR, archive, "layer.7", ZP_TYPE_U8, ZP_TYPE_I8, true, &weights, &message));
    FAILS(ZP_ERROR_FILE, "another type",
          zp_archive_weights(&SCALAR, archive, "layer.0", ZP_TYPE_I8, ZP_TYPE_I8, false, &weights, &message));
    FAILS(ZP_ERROR_FILE, "another type", zp_archive_group_weights(&SCALAR, archive, "layer.0", true, &group, &message));
    FAILS(ZP_ERROR_FILE, "for other ISAs", zp_archive_group_weights(&BEST, archive, "layer.1", false, &group, &message));
    FAILS(ZP_ERROR_TYPE, "codes has elements of ZP_TYPE_U16",
          zp_archive_weights(&SCALAR, archive, "layer.0", ZP_TYPE_U8, ZP_TYPE_U16, false, &weights, &message));
    CHECK(weights == NULL && group == NULL);
    OK(zp_archive_free(archive, &message));

    FAILS(ZP_ERROR_FILE, "too short", zp_archive_open(NULL, 0, NULL, &archive, &message));
    FAILS(ZP_ERROR_NULL, "bytes is NULL", zp_archive_copied(NULL, size, &archive, &message));
    memmove(aligned + 8, aligned, size);
    FAILS(ZP_ERROR_FILE, "at no multiple of 64", zp_archive_open(aligned + 8, size, NULL, &archive, &message));
    bytes[0] ^= 1;
    FAILS(ZP_ERROR_FILE, "does not begin as one", zp_archive_copied(bytes, size, &archive, &message));
    bytes[0] ^= 1, bytes[8] = 9;
    FAILS(ZP_ERROR_FILE, "another version", zp_archive_copied(bytes, size, &archive, &message));
    bytes[8] = 1, bytes[size - 1] ^= 1;
    FAILS(ZP_ERROR_FILE, "its index has changed", zp_archive_copied(bytes, size, &archive, &message));
    CHECK(archive == NULL);
    /* Codes are verified on request. */
    bytes[size - 1] ^= 1, bytes[70] ^= 1;
    OK(zp_archive_copied(bytes, size, &archive, &message));
    FAILS(ZP_ERROR_FILE, "its weights have changed", zp_archive_verify(archive, &message));
    OK(zp_archive_free(archive, &message));
    free(aligned);
    free(bytes);
}

int main(void)
{
    char path[] = "/tmp/zeropoint-archive-XXXXXX";
    const int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0);
    make_operands();
    written_mapped_and_multiplied(BEST, path);
    written_mapped_and_multiplied(SCALAR, path);
    broken_files(path);
    CHECK(unlink(path) == 0);
    OK(zp_params_free(x_params, &message));
    OK(zp_params_free(w_params, &message));
    return 0;
}
