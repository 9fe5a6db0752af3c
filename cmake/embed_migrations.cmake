# cmake -DKIND=<kind> -DLIST=<file with the scripts' paths> -DOUT=<file> -P embed_migrations.cmake
# Writes a C file with the scripts of one kind of store, each as an array of bytes, so that no
# character of SQL needs an escape.
cmake_minimum_required(VERSION 3.25)

file(READ ${LIST} scripts)
set(bodies "")
set(rows "")
set(versions "")
foreach(script IN LISTS scripts)
  cmake_path(GET script FILENAME file)
  if(NOT file MATCHES "^([0-9]+)_([a-z0-9_]+)\\.sql$")
    message(FATAL_ERROR "${script}: a migration is named <date>_<slug>.sql, "
      "the date as YYYYMMDD or YYYYMMDDhhmm, the slug of a-z, 0-9 and _")
  endif()
  set(version ${CMAKE_MATCH_1})
  set(slug ${CMAKE_MATCH_2})
  string(LENGTH ${version} digits)
  if(NOT digits EQUAL 8 AND NOT digits EQUAL 12)
    message(FATAL_ERROR "${script}: the date is YYYYMMDD or YYYYMMDDhhmm")
  endif()
  if(version IN_LIST versions)
    message(FATAL_ERROR "${script}: there is another migration of ${version}")
  endif()
  list(APPEND versions ${version})
  file(READ ${script} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(APPEND bodies "static const unsigned char sql_${version}[] = {${bytes}0};\n")
  string(APPEND rows "    {${version}, \"${slug}\", (const char *)sql_${version}},\n")
endforeach()

if(rows STREQUAL "")
  message(FATAL_ERROR "there are no migrations of ${KIND}")
endif()
file(WRITE ${OUT} "/* Made from migrations/${KIND} by cmake/embed_migrations.cmake. */
#include \"store/store_priv.h\"

${bodies}
static const struct store_script scripts[] = {
${rows}};

const struct store_scripts store_scripts_${KIND} = {scripts, sizeof scripts / sizeof *scripts};
")
