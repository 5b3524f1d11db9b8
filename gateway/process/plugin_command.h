/*
 * `sluice plugin …`: the commands for authors of consumers. They need no configuration and no
 * server. Main thread.
 */
#ifndef SLUICE_PROCESS_PLUGIN_COMMAND_H
#define SLUICE_PROCESS_PLUGIN_COMMAND_H

/* Does what the words behind `plugin` say; values[0] is `plugin`. Returns the exit status: EX_OK,
   EX_USAGE, EX_DATAERR for a bad plugin, EX_CANTCREAT for a folder that can't be made. */
int plugin_command(int count, char **values);

#endif
