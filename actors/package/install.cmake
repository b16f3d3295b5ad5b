# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where. tests/tidy/test_install.c builds programs against it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
if(TARGET weft_shared)
  # From weft.pc to the prefix, so that the tree may be moved, or installed with another --prefix.
  file(RELATIVE_PATH WEFT_UP /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
  set(WEFT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
  set(WEFT_DATA_DIR ${CMAKE_INSTALL_DATADIR}/weft)

  install(TARGETS weft weft_shared EXPORT weft-targets)
  foreach(layer proto runtime actors)
    install(DIRECTORY ${layer}/include/weft DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  endforeach()
  install(EXPORT weft-targets NAMESPACE weft:: DESTINATION ${WEFT_PACKAGE_DIR})
  configure_package_config_file(actors/package/weft-config.cmake.in ${CMAKE_BINARY_DIR}/weft-config.cmake
                                INSTALL_DESTINATION ${WEFT_PACKAGE_DIR})
  write_basic_package_version_file(${CMAKE_BINARY_DIR}/weft-config-version.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_BINARY_DIR}/weft-config.cmake ${CMAKE_BINARY_DIR}/weft-config-version.cmake
          DESTINATION ${WEFT_PACKAGE_DIR})
  string(REGEX REPLACE "[A-Z]+:" "" WEFT_REQUIRES "${WEFT_MODULES}")
  string(REPLACE ";" " " WEFT_REQUIRES "${WEFT_REQUIRES}")
  foreach(file weft.pc weft-static.pc)
    configure_file(actors/package/${file}.in ${CMAKE_BINARY_DIR}/${file} @ONLY)
    install(FILES ${CMAKE_BINARY_DIR}/${file} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  endforeach()

  # Every program weft-NAME; the other examples are to be read.
  add_custom_target(weft_installed DEPENDS weft weft_shared)
  get_property(folders DIRECTORY PROPERTY SUBDIRECTORIES)
  list(FILTER folders INCLUDE REGEX "/(examples|bench)$")
  foreach(folder ${folders})
    get_property(programs DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
    foreach(program ${programs})
      get_target_property(kind ${program} TYPE)
      get_target_property(name ${program} OUTPUT_NAME)
      if(NOT name)
        set(name ${program})
      endif()
      if(kind STREQUAL EXECUTABLE AND name MATCHES "^weft-")
        install(TARGETS ${program})
        add_dependencies(weft_installed ${program})
      endif()
    endforeach()
  endforeach()

  install(DIRECTORY examples/deploy DESTINATION ${WEFT_DATA_DIR})
  install(FILES bench/worker.py bench/floors.json DESTINATION ${WEFT_DATA_DIR}/bench)
  install(DIRECTORY examples/workers DESTINATION ${WEFT_DATA_DIR}
          PATTERN "__pycache__" EXCLUDE PATTERN "node_modules" EXCLUDE)
  install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN "*.png")
  install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
