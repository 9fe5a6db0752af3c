/*
 * A parsed value becomes a transaction, or a fault that names the first field that is wrong.
 *
 * Members that are not known are passed over; of members with the same name the last one
 * counts, so members are collected first and held against the rules afterwards. Text is
 * borrowed from the tape.
 */
#include "ingest/ingest_priv.h"

static const char nul_message[] = "must not contain U+0000";

/* The last members of the known names; NULL: absent. */
struct members {
    const struct json_node *product, *pennkey, *timestamp, *id;
    uint32_t data; /* index in the tape; 0, the root's, if absent */
};

static inline bool is_name(const struct json_node *name, const char *known, size_t len)
{
    return name->len == len && memcmp(name->text, known, len) == 0;
}

#define IS_NAME(name, known) is_name(name, known, sizeof known - 1)

static struct members collect(const struct json_node *tape)
{
    struct members members = {0};
    uint32_t at = 1;

    for (uint32_t i = 0; i < tape[0].count; i++) {
        const struct json_node *name = &tape[at];

        if (IS_NAME(name, "data"))
            members.data = at + 1;
        else if (IS_NAME(name, "product"))
            members.product = &tape[at + 1];
        else if (IS_NAME(name, "pennkey"))
            members.pennkey = &tape[at + 1];
        else if (IS_NAME(name, "timestamp"))
            members.timestamp = &tape[at + 1];
        else if (IS_NAME(name, "id"))
            members.id = &tape[at + 1];
        at = tape[at + 1].next;
    }
    return members;
}

struct text_rule {
    size_t min, max; /* bytes */
    const char *wrong_type, *too_long;
};

static const struct text_rule pennkey_rule = {0, TXN_MAX_PENNKEY, "must be a string or null",
                                              "must be at most 64 bytes long"};
static const struct text_rule id_rule = {1, TXN_MAX_CLIENT_ID, "must be a string",
                                         "must be at most 64 bytes long"};
static const struct text_rule key_rule = {1, TXN_MAX_KEY, "must be a string",
                                          "must be at most 256 bytes long"};
static const struct text_rule value_rule = {0, TXN_MAX_VALUE,
                                            "must be a string, a number, true, false or null",
                                            "must be at most 8192 bytes long"};

/* The type of fault and its message, or NULL if the node is the text that the rule wants. */
static inline const char *check_text(const struct json_node *node, const struct text_rule *rule,
                                     const char **ret_message)
{
    if (node->type != JSON_STRING) {
        *ret_message = rule->wrong_type;
        return "string_type";
    }
    if (node->len < rule->min) {
        *ret_message = "must not be empty";
        return "string_too_short";
    }
    if (node->len > rule->max) {
        *ret_message = rule->too_long;
        return "string_too_long";
    }
    if (node->has_nul) {
        *ret_message = nul_message;
        return "string_unicode";
    }
    return NULL;
}

/* The number of an integer token; UINT32_MAX, which no product has, if it is too large or
 * negative. False if the token is no integer. */
static bool read_integer(struct slice token, uint32_t *ret)
{
    uint64_t number = 0;

    for (size_t i = token.at[0] == '-'; i < token.len; i++) {
        if (token.at[i] < '0' || token.at[i] > '9')
            return false;
        if (number < UINT32_MAX)
            number = number * 10 + (uint64_t)(token.at[i] - '0');
    }
    *ret = token.at[0] == '-' || number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    return true;
}

static int check_product(struct ingest *ingest, const struct json_node *node, uint32_t *ret,
                         struct ingest_fault *fault)
{
    uint32_t number = UINT32_MAX;
    bool known = false;

    if (node == NULL)
        return ingest_fault_member(fault, "product", "missing", "is missing");
    if (node->type == JSON_STRING)
        known = txn_product_by_name(ingest->products, json_text(node), &number);
    else if (node->type == JSON_NUMBER && read_integer(json_text(node), &number))
        known = txn_product_name(ingest->products, number) != NULL;
    else
        return ingest_fault_member(fault, "product", "int_type",
                                   "must be a number or a name of the product table");
    if (!known)
        return ingest_fault_member(fault, "product", "product_unknown",
                                   "is not in the product table");
    *ret = number;
    return 0;
}

static int check_pennkey(const struct json_node *node, struct slice *ret,
                         struct ingest_fault *fault)
{
    const char *type, *message;

    if (node == NULL || node->type == JSON_NULL)
        return 0;
    type = check_text(node, &pennkey_rule, &message);
    if (type != NULL)
        return ingest_fault_member(fault, "pennkey", type, message);
    *ret = json_text(node);
    return 0;
}

static int check_id(const struct json_node *node, struct slice *ret, struct ingest_fault *fault)
{
    const char *type, *message;

    if (node == NULL)
        return 0;
    type = check_text(node, &id_rule, &message);
    if (type != NULL)
        return ingest_fault_member(fault, "id", type, message);
    *ret = json_text(node);
    return 0;
}

static int check_timestamp(const struct json_node *node, int64_t *ret_us,
                           struct ingest_fault *fault)
{
    const char *type, *message;

    if (node == NULL)
        return ingest_fault_member(fault, "timestamp", "missing", "is missing");
    if (ingest_timestamp(node, ret_us, &type, &message) < 0)
        return ingest_fault_member(fault, "timestamp", type, message);
    return 0;
}

static inline const char *check_value(const struct json_node *node, struct slice *ret,
                                      const char **ret_message)
{
    const char *type = NULL;

    switch (node->type) {
    case JSON_NULL:
        *ret = (struct slice){0};
        return NULL;
    case JSON_FALSE:
    case JSON_TRUE:
    case JSON_NUMBER:
        if (node->len > value_rule.max) {
            *ret_message = value_rule.too_long;
            return "string_too_long";
        }
        break;
    default:
        type = check_text(node, &value_rule, ret_message);
    }
    if (type == NULL)
        *ret = json_text(node);
    return type;
}

static int check_datapoint(const struct json_node *tape, uint32_t at, uint32_t index,
                           struct txn_datapoint *ret, struct ingest_fault *fault)
{
    const struct json_node *key = NULL;
    const struct json_node *value = NULL;
    uint32_t count = tape[at].count;
    const char *type, *message;

    if (tape[at].type != JSON_OBJECT)
        return ingest_fault_datapoint(fault, index, NULL, "dict_type", "must be an object");
    at += 1;
    for (uint32_t i = 0; i < count; i++) {
        if (IS_NAME(&tape[at], "key"))
            key = &tape[at + 1];
        else if (IS_NAME(&tape[at], "value"))
            value = &tape[at + 1];
        at = tape[at + 1].next;
    }
    if (key == NULL)
        return ingest_fault_datapoint(fault, index, "key", "missing", "is missing");
    type = check_text(key, &key_rule, &message);
    if (type != NULL)
        return ingest_fault_datapoint(fault, index, "key", type, message);
    if (value == NULL)
        return ingest_fault_datapoint(fault, index, "value", "missing", "is missing");
    type = check_value(value, &ret->value, &message);
    if (type != NULL)
        return ingest_fault_datapoint(fault, index, "value", type, message);
    ret->key = json_text(key);
    return 0;
}

static int check_data(struct ingest *ingest, const struct json_node *tape, uint32_t data,
                      struct ingest_fault *fault)
{
    uint32_t at = data + 1;

    if (data == 0)
        return ingest_fault_member(fault, "data", "missing", "is missing");
    if (tape[data].type != JSON_ARRAY)
        return ingest_fault_member(fault, "data", "list_type", "must be a list of datapoints");
    if (tape[data].count == 0)
        return ingest_fault_member(fault, "data", "too_short", "must hold at least 1 datapoint");
    if (tape[data].count > TXN_MAX_DATAPOINTS)
        return ingest_fault_member(fault, "data", "too_long", "must hold at most 1000 datapoints");
    for (uint32_t i = 0; i < tape[data].count; i++) {
        int rc = check_datapoint(tape, at, i, &ingest->datapoints[i], fault);

        if (rc < 0)
            return rc;
        at = tape[at].next;
    }
    return 0;
}

int ingest_check(struct ingest *ingest, const struct json_node *tape, int64_t received_us,
                 struct txn *ret_txn, struct ingest_fault *fault)
{
    struct txn txn = {.received_us = received_us, .datapoints = ingest->datapoints};
    struct members members;
    int rc;

    if (tape[0].type != JSON_OBJECT)
        return ingest_fault_whole(fault, "dict_type", "must be a JSON object");
    members = collect(tape);
    rc = check_product(ingest, members.product, &txn.product, fault);
    if (rc == 0)
        rc = check_pennkey(members.pennkey, &txn.pennkey, fault);
    if (rc == 0)
        rc = check_timestamp(members.timestamp, &txn.timestamp_us, fault);
    if (rc == 0)
        rc = check_id(members.id, &txn.client_id, fault);
    if (rc == 0)
        rc = check_data(ingest, tape, members.data, fault);
    if (rc < 0)
        return rc;
    txn.count = tape[members.data].count;
    *ret_txn = txn;
    return 0;
}
