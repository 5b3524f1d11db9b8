# The Debian packages sluice and sluice-dev, one for each component: script/package makes them, with
# the prefix /usr and Debian's compiler flags. Their texts and scripts lie beside this file.

set(debian ${CMAKE_CURRENT_LIST_DIR})
set(made ${CMAKE_CURRENT_BINARY_DIR}/debian)

# What every package has in its folder of documents.
file(READ ${CMAKE_SOURCE_DIR}/LICENSE licence)
string(REGEX REPLACE "^.*(Permission is hereby granted)" "\\1" licence "${licence}")
string(REGEX REPLACE "\n\n" "\n.\n" licence "${licence}")
string(REGEX REPLACE "\n([^\n])" "\n \\1" licence "\n${licence}")
file(READ ${debian}/copyright.in copyright)
string(SUBSTRING "${licence}" 1 -1 licence)
file(WRITE ${made}/copyright "${copyright}${licence}")
configure_file(${debian}/changelog ${made}/changelog COPYONLY)
execute_process(COMMAND gzip -9nf ${made}/changelog COMMAND_ERROR_IS_FATAL ANY)
foreach(component sluice sluice-dev)
  string(REPLACE "sluice" "${component}" folder "${CMAKE_INSTALL_DATADIR}/doc/sluice")
  install(FILES ${made}/copyright ${made}/changelog.gz DESTINATION ${folder} COMPONENT ${component})
endforeach()

install(FILES ${debian}/sluice.lintian-overrides RENAME sluice
        DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides COMPONENT sluice)

file(STRINGS ${debian}/changelog first LIMIT_COUNT 1)
if(NOT first MATCHES "^sluice \\(${PROJECT_VERSION}\\)")
  message(FATAL_ERROR "packaging/debian/changelog begins with `${first}`, and this is ${PROJECT_VERSION}")
endif()

foreach(script postinst postrm)
  configure_file(${debian}/${script}.in ${made}/${script} @ONLY
                 FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
                                  WORLD_READ WORLD_EXECUTE)
endforeach()
configure_file(${debian}/prerm ${made}/prerm COPYONLY)
file(WRITE ${made}/conffiles "/etc/sluice/sluice.yaml\n/etc/logrotate.d/sluice\n")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME sluice)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_COMPONENTS_ALL sluice sluice-dev)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

# Whoever makes the packages answers for them; Debian's tools know him by these two.
set(name "The Sluice authors")
set(address "sluice@example.org")
if(DEFINED ENV{DEBFULLNAME})
  set(name "$ENV{DEBFULLNAME}")
endif()
if(DEFINED ENV{DEBEMAIL})
  set(address "$ENV{DEBEMAIL}")
endif()
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${name} <${address}>")

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each component's text begins with its own
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_SLUICE_PACKAGE_NAME sluice)
set(CPACK_DEBIAN_SLUICE_PACKAGE_SECTION net)
set(CPACK_DEBIAN_SLUICE_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_SLUICE_PACKAGE_DEPENDS adduser)
# Strips the programs, and keeps what debuggers want in a package of its own, sluice-dbgsym.
set(CPACK_DEBIAN_SLUICE_DEBUGINFO_PACKAGE ON)
set(CPACK_DEBIAN_SLUICE_PACKAGE_SUGGESTS sluice-dev)
set(CPACK_DEBIAN_SLUICE_PACKAGE_CONTROL_EXTRA
    ${made}/postinst ${made}/prerm ${made}/postrm ${made}/conffiles)
set(CPACK_DEBIAN_SLUICE_DESCRIPTION
    "protocol gateway for HTTP, TLS and WebSockets
One server that speaks HTTP, TLS and WebSocket to the world and hands each
conversation to a consumer, a small shared object that never touches a socket.
A YAML file says which URL goes to which consumer, and what else the server
does: static pages, proxying, redirects, access logs, limits.")

set(CPACK_DEBIAN_SLUICE-DEV_PACKAGE_NAME sluice-dev)
set(CPACK_DEBIAN_SLUICE-DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_SLUICE-DEV_PACKAGE_RECOMMENDS "sluice (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_SLUICE-DEV_PACKAGE_SUGGESTS "c-compiler, cmake, pkg-config")
set(CPACK_DEBIAN_SLUICE-DEV_DESCRIPTION
    "header and test library for consumers of sluice
What a consumer for the protocol gateway sluice is built with: the header, a
CMake package, pkg-config files, and a host in memory that runs a consumer's
hooks in tests without a server.")

include(CPack)
