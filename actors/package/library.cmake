# SPDX-License-Identifier: Apache-2.0
# libweft.a and libweft.so, both from the objects of the three layers, compiled once.
# Until 1.0 every minor version may change the ABI: the soname and the version of the symbols have both numbers.
set(WEFT_ABI ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set(WEFT_OBJECTS $<TARGET_OBJECTS:weft_proto> $<TARGET_OBJECTS:weft_runtime> $<TARGET_OBJECTS:weft_actors>)
# CivetWeb by its name for whoever links the installed library: the path is one of this machine.
set(WEFT_NEEDS Threads::Threads $<BUILD_INTERFACE:${CIVETWEB_LIBRARY}> $<INSTALL_INTERFACE:civetweb> m)
foreach(pair ${WEFT_MODULES})
  string(REGEX REPLACE ":.*" "" name ${pair})
  list(APPEND WEFT_NEEDS PkgConfig::${name})
endforeach()

add_library(weft STATIC ${WEFT_OBJECTS})
set_target_properties(weft PROPERTIES EXPORT_NAME weft-static)
target_link_libraries(weft PRIVATE ${WEFT_NEEDS})

# Sanitized and fuzzed builds are not installed.
if(NOT WEFT_SANITIZE AND NOT WEFT_FUZZ)
  configure_file(actors/package/weft.map.in ${CMAKE_BINARY_DIR}/weft.map @ONLY)
  add_library(weft_shared SHARED ${WEFT_OBJECTS})
  set_target_properties(weft_shared PROPERTIES EXPORT_NAME weft OUTPUT_NAME weft VERSION ${PROJECT_VERSION}
                        SOVERSION ${WEFT_ABI} LINK_DEPENDS ${CMAKE_BINARY_DIR}/weft.map)
  target_link_libraries(weft_shared PRIVATE ${WEFT_NEEDS})
  target_link_options(weft_shared PRIVATE -Wl,--version-script=${CMAKE_BINARY_DIR}/weft.map -Wl,--no-undefined)
endif()

# Programs of this tree see every layer; those of others only what is installed.
foreach(layer proto runtime actors)
  target_include_directories(weft PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/${layer}>
                             $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/${layer}/include>)
endforeach()
target_include_directories(weft PUBLIC $<INSTALL_INTERFACE:include>)
if(TARGET weft_shared)
  target_include_directories(weft_shared INTERFACE $<INSTALL_INTERFACE:include>)
endif()
