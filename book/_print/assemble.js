/**
 * Put the articles of a site's pages into one, for print; see epsutil/book/pdf.py.
 *
 * pages: their addresses; site: where the site will be found, "" if that is unknown.
 */
async ([pages, site]) => {
  const base = new URL("/", location.href);
  const names = new Map(pages.map((page, i) => [new URL(page, base).href, `page-${i}`]));
  const book = document.createElement("div");
  book.className = "bd-article-container book";
  for (const [url, name] of names) {
    const text = await (await fetch(url)).text();
    const article = new DOMParser().parseFromString(text, "text/html")
      .querySelector("article.bd-article");
    // What a PDF cannot do: plots that move, buttons, files to download.
    const useless = "script, iframe, canvas, button, a.headerlink, a.download, .plotly-graph-div";
    article.querySelectorAll(useless).forEach(element => element.remove());
    for (const key of ["id", "for", "name"])
      for (const element of article.querySelectorAll(`[${key}]`))
        element.setAttribute(key, `${name}-${element.getAttribute(key)}`);
    for (const key of ["src", "href"])
      for (const element of article.querySelectorAll(`[${key}]`)) {
        const target = new URL(element.getAttribute(key), url), hash = target.hash;
        target.hash = "";
        const page = names.get(target.href);
        if (key === "href" && page)
          element.href = `#${page}${hash && "-" + hash.slice(1)}`;
        else if (key === "href" && target.origin === base.origin)
          site ? element.href = site + target.pathname.slice(1) + hash
               : element.removeAttribute("href");
        else
          element.setAttribute(key, target.href + hash);
      }
    article.querySelectorAll("img").forEach(image => { image.loading = "eager"; });
    article.id = name;
    book.append(article);
  }
  document.documentElement.dataset.theme = "light";
  document.body.replaceChildren(book);
  if (window.MathJax?.typesetPromise) await MathJax.typesetPromise([book]);
  await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
}
