// Saves the URLs of the pictures on the page that you see, one a line, as a text file for `trainer download`.
//
// Search for pictures, scroll until you have seen enough of them, open the browser's console (F12, or Cmd+Option+J),
// paste all of this, and press Enter. The file is called after what was searched for: `teddy bear.txt` becomes the class
// "teddy bear".
(() => {
  "use strict";
  const LEAST = 64; // pixels of a side: smaller pictures are buttons and marks
  const LAZY = ["data-src", "data-original", "data-lazy-src", "data-lazy", "data-url", "data-image", "data-iurl"];
  const LINKED = ["imgurl", "mediaurl", "image_url", "imageurl", "img_url"]; // of a link, in which it has the whole picture

  const absolute = (text) => {
    try {
      const url = new URL(text.trim(), document.baseURI);
      return ["http:", "https:"].includes(url.protocol) || url.href.startsWith("data:image/") ? url.href : null;
    } catch {
      return null;
    }
  };

  // The largest of `a.jpg 320w, b.jpg 640w` or `a.jpg, b.jpg 2x`. A URL may have commas in it, but not at its ends.
  const largest = (srcset) => {
    const found = [...(srcset || "").matchAll(/([^\s,]\S*[^\s,])(?:\s+([\d.]+)[wxh])?\s*(?:,|$)/g)];
    const sizes = found.map(([, url, size]) => ({ url, size: Number(size || 1) }));
    return sizes.sort((one, other) => other.size - one.size)[0]?.url;
  };

  // The whole picture that a link leads to, by its address.
  const linked = (element) => {
    const href = element.closest("a[href]")?.href;
    if (!href || !absolute(href)) return null;
    const address = new URL(href);
    const told = LINKED.map((name) => address.searchParams.get(name)).find((url) => url && absolute(url));
    if (told) return told;
    return /\.(jpe?g|png|webp|gif|avif|bmp|tiff?)$/i.test(address.pathname) ? href : null;
  };

  const isSmall = (width, height) => width > 1 && height > 1 && Math.min(width, height) < LEAST;

  // The best that there is of a picture: the whole one, then what is loaded when it is scrolled to, then what is shown.
  const ofPicture = (image) => {
    const sources = [image, ...(image.closest("picture")?.querySelectorAll("source") || [])];
    const lazy = LAZY.map((name) => image.getAttribute(name)).find((url) => url);
    const sets = sources.map((each) => largest(each.getAttribute("data-srcset")) || largest(each.getAttribute("srcset")));
    const later = lazy || sources.some((each) => each.hasAttribute("data-srcset"));
    if (!later && isSmall(image.naturalWidth, image.naturalHeight)) return null;
    if (!later && image.complete && image.naturalWidth === 1) return null;
    return linked(image) || sets.find((url) => url) || lazy || image.currentSrc || image.src;
  };

  const ofBackground = (element) => {
    const told = element.getAttribute("data-bg") || element.getAttribute("data-background-image");
    const shown = getComputedStyle(element).backgroundImage.match(/url\((["']?)(.*?)\1\)/)?.[2];
    const url = told?.match(/^url\((["']?)(.*?)\1\)$/)?.[2] || told || shown;
    const { width, height } = element.getBoundingClientRect();
    return url && !isSmall(width, height) ? linked(element) || url : null;
  };

  const urls = new Set();
  for (const element of document.querySelectorAll("*")) {
    const url =
      element.tagName === "IMG" ? ofPicture(element)
      : element.tagName === "A" && !element.querySelector("img") && LINKED.some((name) => element.href.includes(`${name}=`))
        ? linked(element)
        : ofBackground(element);
    const whole = url && absolute(url);
    if (whole) urls.add(whole);
  }

  const search = new URLSearchParams(location.search);
  const words = ["q", "query", "p", "text", "search", "word"].map((name) => search.get(name)).find((text) => text);
  const name = (words || document.title || "pictures").replace(/[\\/:*?"<>|\p{C}\s]+/gu, " ").trim().replace(/^\.+|\.+$/g, "");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[...urls, ""].join("\n")], { type: "text/plain" }));
  link.download = `${name || "pictures"}.txt`;
  link.click();
  URL.revokeObjectURL(link.href);
  return `${urls.size} URLs: ${link.download}`;
})();
