# Included by the engine's project(): compiles the sources of each target in groups of sixteen ("unity build"), because most of the
# time goes into the same headers. Of 1,097 translation units 344 are left.
#
# Grouped, a file sees what the files before it keep to themselves. The compiler finds names that are defined twice. It does not find
# a call for which another file's static function suits better than the one that was meant: what follows keeps apart whatever has
# static functions or macros whose names another file of its group uses. Look again when the engine's version changes.
set(CMAKE_UNITY_BUILD ON)
set(CMAKE_UNITY_BUILD_BATCH_SIZE 16)

function(keep_collisions_apart)
  # Every file has its own bindFunc, execFunc …
  set(targets lbug_function_aggregate lbug_function_export lbug_function_map lbug_function_path lbug_function_pattern
    lbug_function_union lbug_list_function lbug_string_function lbug_table_function lbug_utility_function)
  # Others' C code, full of macros.
  list(APPEND targets brotlicommon brotlidec brotlienc mbedtls re2 zstd)
  foreach(target ${targets})
    set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
  endforeach()

  set(lbug_binder_bind_expression binder/bind_expression/bind_property_expression.cpp)
  set(lbug_catalog_entry catalog/catalog_entry/rel_group_catalog_entry.cpp)
  set(lbug_common_types common/types/int128_t.cpp common/types/uint128_t.cpp)
  set(lbug_function_algorithm function/gds/bfs_graph.cpp function/gds/gds.cpp)
  set(lbug_optimizer optimizer/order_by_push_down_optimizer.cpp)
  set(lbug_processor_operator_order_by processor/operator/order_by/order_by_key_encoder.cpp
    processor/operator/order_by/radix_sort.cpp)
  set(lbug_processor_operator_csv_reader processor/operator/persistent/reader/csv/serial_csv_reader.cpp)
  set(lbug_storage_store storage/table/arrow_rel_table.cpp storage/table/column_reader_writer.cpp)
  set(lbug_storage_wal storage/wal/checksum_writer.cpp storage/wal/wal_replayer.cpp)
  foreach(target lbug_binder_bind_expression lbug_catalog_entry lbug_common_types lbug_function_algorithm lbug_optimizer
      lbug_processor_operator_order_by lbug_processor_operator_csv_reader lbug_storage_store lbug_storage_wal)
    foreach(file ${${target}})
      if(NOT EXISTS ${CMAKE_SOURCE_DIR}/src/${file})
        message(FATAL_ERROR "build/engine.cmake: ${file} is not part of this version of the engine")
      endif()
      set_source_files_properties(${CMAKE_SOURCE_DIR}/src/${file} TARGET_DIRECTORY ${target}
        PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endforeach()
  endforeach()
endfunction()

cmake_language(DEFER CALL keep_collisions_apart) # when all targets are known
