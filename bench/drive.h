/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands of weft-bench. Each returns its exit status: 0, 1 (a run failed, something is slower, a floor is not
 * kept), 2 (it can't be done as asked), 130 (interrupted).
 */
#ifndef BENCH_DRIVE_H
#define BENCH_DRIVE_H

int drive_main(int argc, char **argv);    /* run the matrix */
int compare_main(int argc, char **argv);  /* two files */
int gate_main(int argc, char **argv);     /* files against floors */
int plot_main(int argc, char **argv);     /* pictures */
int markdown_main(int argc, char **argv); /* tables for a page */
int deaths_main(int argc, char **argv);   /* how soon a killed worker's record runs again */

int death_worker_main(int argc, char **argv); /* its worker process */

#endif
