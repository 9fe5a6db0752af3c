/*
 * A body is read where it arrived; one that is compressed comes into a buffer first.
 *
 * Decompression stops at the first byte over max_body, and the buffer grows by doubling up
 * to there and never beyond, so a small body that claims to be a huge one costs no more than
 * an honest one. Several gzip members or zstd frames in a row are one body (RFC 1952,
 * section 2.2; RFC 8878, section 3); anything else behind the stream, or a stream without
 * its end, is ERR_CORRUPT.
 */
#include "ingest/ingest_priv.h"

#include "base/mem.h"

#include <zlib.h>
#include <zstd.h>

enum {
    FIRST_ROOM = 16 * 1024,
    GZIP_ONLY = 16 + MAX_WBITS, /* zlib's way to ask for the gzip wrapper */
    ZSTD_WINDOW_LOG = 23,       /* 8 MiB, what RFC 9659 lets senders use */
};

/* Room for at least one more byte behind body->len, at most for one over max_body (the one
 * that tells that the body is too large). Returns the bytes of room. */
static size_t make_room(struct ingest *ingest)
{
    struct buf *body = &ingest->body;
    size_t most = ingest->max_body + JSON_PADDING;
    size_t left;

    if (body->len + JSON_PADDING >= body->cap && body->cap < most) {
        size_t cap = body->cap < FIRST_ROOM ? FIRST_ROOM : body->cap * 2;

        if (cap > most)
            cap = most;
        body->data = mem_realloc(body->data, cap);
        body->cap = cap;
    }
    left = body->cap - body->len - JSON_PADDING;
    return left > 0 ? left : 1;
}

static int too_large(const struct ingest *ingest, struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "the body is larger than %zu bytes", ingest->max_body);
}

static int inflate_members(struct ingest *ingest, z_stream *stream, struct err *err)
{
    for (;;) {
        size_t room = make_room(ingest);
        int result;

        stream->next_out = (Bytef *)ingest->body.data + ingest->body.len;
        stream->avail_out = room < UINT32_MAX ? (uInt)room : UINT32_MAX;
        result = inflate(stream, Z_NO_FLUSH);
        ingest->body.len = (size_t)((char *)stream->next_out - ingest->body.data);
        if (ingest->body.len > ingest->max_body)
            return too_large(ingest, err);
        if (result == Z_STREAM_END && stream->avail_in == 0)
            return 0;
        if (result == Z_STREAM_END)
            result = inflateReset(stream);
        if (result == Z_BUF_ERROR) /* there was room, so it is bytes that are missing */
            return err_set(err, ERR_CORRUPT, "the gzip stream has no end");
        if (result != Z_OK)
            return err_set(err, ERR_CORRUPT, "the gzip stream is broken: %s",
                           stream->msg != NULL ? stream->msg : "bad data");
    }
}

static int load_gzip(struct ingest *ingest, struct slice body, struct err *err)
{
    z_stream stream = {0};
    int rc;

    if (body.len > UINT32_MAX)
        return too_large(ingest, err);
    stream.next_in = (Bytef *)(body.len > 0 ? body.at : "");
    stream.avail_in = (uInt)body.len;
    if (inflateInit2(&stream, GZIP_ONLY) != Z_OK)
        return err_set(err, ERR_FULL, "no memory to decompress the body");
    rc = inflate_members(ingest, &stream, err);
    inflateEnd(&stream);
    return rc;
}

static int decompress_frames(struct ingest *ingest, ZSTD_DCtx *context, struct slice body,
                             struct err *err)
{
    ZSTD_inBuffer in = {body.at, body.len, 0};

    for (;;) {
        size_t room = make_room(ingest);
        ZSTD_outBuffer out = {ingest->body.data + ingest->body.len, room, 0};
        size_t result = ZSTD_decompressStream(context, &out, &in);

        ingest->body.len += out.pos;
        if (ingest->body.len > ingest->max_body)
            return too_large(ingest, err);
        if (ZSTD_isError(result))
            return err_set(err, ERR_CORRUPT, "the zstd stream is broken: %s",
                           ZSTD_getErrorName(result));
        if (in.pos == in.size && result == 0)
            return 0;
        if (in.pos == in.size && out.pos < out.size)
            return err_set(err, ERR_CORRUPT, "the zstd stream has no end");
    }
}

static int load_zstd(struct ingest *ingest, struct slice body, struct err *err)
{
    ZSTD_DCtx *context;
    int rc;

    if (body.len == 0)
        return err_set(err, ERR_CORRUPT, "the zstd stream has no end");
    context = ZSTD_createDCtx();
    if (context == NULL)
        return err_set(err, ERR_FULL, "no memory to decompress the body");
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
    rc = decompress_frames(ingest, context, body, err);
    ZSTD_freeDCtx(context);
    return rc;
}

int ingest_load(struct ingest *ingest, struct slice body, enum ingest_encoding encoding,
                struct slice *ret_text, struct err *err)
{
    int rc;

    if (encoding == INGEST_IDENTITY) {
        if (body.len > ingest->max_body)
            return too_large(ingest, err);
        *ret_text = body;
        return 0;
    }
    ingest->body.len = 0;
    rc = encoding == INGEST_GZIP ? load_gzip(ingest, body, err) : load_zstd(ingest, body, err);
    if (rc == 0)
        *ret_text = buf_slice(&ingest->body);
    return rc;
}
