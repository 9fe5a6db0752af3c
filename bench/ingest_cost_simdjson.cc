/*
 * The yardstick of ingest_cost.c: simdjson's On Demand interface, used as its documentation
 * shows, looking at every field of a transaction once and keeping nothing. Compiled for the
 * CPU at hand, which the engine is not, because that is how simdjson is fastest.
 */
#include <cstddef>
#include <simdjson.h>

using namespace simdjson;

extern "C" size_t simdjson_alone(const char *body, size_t len, size_t capacity);

static size_t read_datapoints(ondemand::array data)
{
    size_t bytes = 0;

    for (auto element : data) {
        ondemand::object datapoint;

        if (element.get(datapoint))
            return 0;
        for (auto member : datapoint) {
            std::string_view name, text;

            if (member.unescaped_key().get(name) || member.value().get_string().get(text))
                return 0;
            bytes += name.size() + text.size();
        }
    }
    return bytes;
}

size_t simdjson_alone(const char *body, size_t len, size_t capacity)
{
    static ondemand::parser parser;
    ondemand::document document;
    ondemand::object transaction;
    ondemand::array data;
    std::string_view product, pennkey;
    double timestamp;

    if (parser.iterate(body, len, capacity).get(document) ||
        document.get_object().get(transaction) || transaction["product"].get(product) ||
        transaction["pennkey"].get(pennkey) || transaction["timestamp"].get(timestamp) ||
        transaction["data"].get(data))
        return 0;
    return read_datapoints(data);
}
