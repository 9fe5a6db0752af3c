# The schema migrations, compiled into the store: migrations/<kind>/<date>_<slug>.sql becomes
# the table store_scripts_<kind> (src/store/store_priv.h) in the build tree, in the order of
# the names. A changed, new or removed file makes it anew.
if(NOT TARGET store)
  return()
endif()

foreach(kind postgres sqlite)
  file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/migrations/${kind}/*.sql)
  set(generated ${CMAKE_BINARY_DIR}/generated/store_scripts_${kind}.c)
  # The list itself is an input too: without it a removed script would leave the table as it is.
  file(CONFIGURE OUTPUT ${generated}.list CONTENT "${scripts}" @ONLY)
  add_custom_command(OUTPUT ${generated}
    COMMAND ${CMAKE_COMMAND} -DKIND=${kind} -DOUT=${generated} -DLIST=${generated}.list
      -P ${CMAKE_SOURCE_DIR}/cmake/embed_migrations.cmake
    DEPENDS ${scripts} ${generated}.list ${CMAKE_SOURCE_DIR}/cmake/embed_migrations.cmake
    COMMENT "Embedding the ${kind} migrations"
    VERBATIM)
  target_sources(store PRIVATE ${generated})
endforeach()
