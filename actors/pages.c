/* SPDX-License-Identifier: Apache-2.0 */
#include "pages.h"

#include "check.h"

static bool is_borrowed(const wf_pages *pages, const wf_page *page) {
    for (unsigned i = 0; i < WF_PAGES_READERS; i++)
        if (atomic_load(&pages->borrowed[i]) == page) return true;
    return false;
}

void wf_pages_publish(wf_pages *pages, wf_page *page) {
    wf_page *old = atomic_exchange(&pages->current, page);
    size_t kept = 0;
    for (size_t i = 0; i <= WF_PAGES_READERS; i++) {
        wf_page *retired = pages->retired[i];
        pages->retired[i] = NULL;
        if (retired && is_borrowed(pages, retired))
            pages->retired[kept++] = retired;
        else
            wf_page_free(retired);
    }
    /* Each reader keeps one, so there is room for this one. */
    WF_CHECK(kept <= WF_PAGES_READERS);
    pages->retired[kept] = old;
}

wf_page *wf_pages_borrow(wf_pages *pages, unsigned reader) {
    WF_CHECK(reader < WF_PAGES_READERS);
    wf_page *page = atomic_load(&pages->current);
    for (;;) {
        atomic_store(&pages->borrowed[reader], page);
        /* It may have been retired between the look and the mark, and the mark not been seen. */
        wf_page *again = atomic_load(&pages->current);
        if (again == page) return page;
        page = again;
    }
}

void wf_pages_give_back(wf_pages *pages, unsigned reader) {
    atomic_store(&pages->borrowed[reader], NULL);
}

void wf_pages_deinit(wf_pages *pages) {
    wf_page_free(atomic_exchange(&pages->current, NULL));
    for (size_t i = 0; i <= WF_PAGES_READERS; i++) {
        wf_page_free(pages->retired[i]);
        pages->retired[i] = NULL;
    }
}
