# The configuration that is installed is conf/sluice.yaml with the paths of an installed system, so
# that there is one file to keep. Each text that is replaced must be there.

function(replace_in variable from to)
  string(FIND "${${variable}}" "${from}" at)
  if(at LESS 0)
    message(FATAL_ERROR "conf/sluice.yaml lacks what the installed one has replaced:\n${from}")
  endif()
  string(REPLACE "${from}" "${to}" replaced "${${variable}}")
  set(${variable} "${replaced}" PARENT_SCOPE)
endfunction()

function(write_installed_configuration from to)
  file(READ ${from} text)
  replace_in(text "# Sluice over plain http, for trying it out: the chat on http://localhost:8080/."
"# The configuration of the installed Sluice. As it comes it serves the chat to this machine alone,
# on http://localhost:8080/.")
  replace_in(text
"#   sluice -t -c conf/sluice.yaml      says all that is wrong with this file
#   sluice -c conf/sluice.yaml         serves it"
"# After a change:
#
#   sluice -t -c ${SLUICE_CONF_DIR}/sluice.yaml     says all that is wrong with it
#   systemctl reload sluice                   serves it")
  replace_in(text "docs/configuration.md has them\n# all."
             "sluice.yaml(5) and\n# ${CMAKE_INSTALL_FULL_DOCDIR} have them all.")
  replace_in(text "  - port: 8080\n" "  - host: 127.0.0.1\n    port: 8080\n")
  replace_in(text "# plugin-dir: ../build/release/plugins" "# plugin-dir: ${SLUICE_PLUGIN_DIR}")
  replace_in(text "# error-log: ../logs/sluice.log"
"# error-log: ${SLUICE_LOG_DIR}/error.log

# Who serves: the program starts as root, opens ports, keys and logs, and gives its rights up.
user: sluice")
  replace_in(text "# access-log: ../logs/access.log" "access-log: ${SLUICE_LOG_DIR}/access.log")
  replace_in(text "# control: ../run/sluice.control" "control: /run/sluice/sluice.control")
  replace_in(text "outlives the server. `user` must be able to write to its folder. docs/history.md.\n"
             "outlives the server. ${SLUICE_STATE_DIR} belongs to the user `sluice`.\n# ${CMAKE_INSTALL_FULL_DOCDIR}/history.md.\n")
  replace_in(text "# layer: {sqlite: ../run/history.db, synchronous: normal, deliver: after-commit}"
             "# layer: {sqlite: ${SLUICE_STATE_DIR}/history.db, synchronous: normal, deliver: after-commit}")
  replace_in(text "file.dir: ../www" "file.dir: ${CMAKE_INSTALL_FULL_DATADIR}/sluice/www")
  file(WRITE ${to} "${text}")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${from})
endfunction()
