// What the theme and the gallery leave out for keyboards and screen readers; tests/plain/house/test_site.py checks the pages.
document.addEventListener("DOMContentLoaded", () => {
    for (const caption of document.querySelectorAll("p.caption[role='heading']")) caption.setAttribute("aria-level", "2");
    document.querySelector("aside.sidebar-drawer")?.setAttribute("aria-label", "Pages");
    document.querySelector("aside.toc-drawer")?.setAttribute("aria-label", "On this page");
    for (const thumbnail of document.querySelectorAll(".sphx-glr-thumbcontainer a.internal")) {
        thumbnail.setAttribute("aria-label", thumbnail.textContent);
    }
    const results = document.getElementById("search-results");
    if (results) results.insertAdjacentHTML("beforebegin", "<h1>Search</h1>");
    const scrollable = () => {
        for (const box of document.querySelectorAll("pre, .table-wrapper, .output_html")) {
            if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
        }
    };
    scrollable();
    window.addEventListener("resize", scrollable);
});
