"""The style checks find what they are for: each is shown a small tree with one fault."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import files  # noqa: E402
import functions  # noqa: E402
import layers  # noqa: E402
import manual  # noqa: E402
import readme  # noqa: E402


class StyleTest(unittest.TestCase):
    def tree(self, **texts):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        top = pathlib.Path(folder.name)
        for name, text in texts["texts"].items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
        return top

    def layer_faults(self, texts):
        return layers.check(self.tree(texts=texts))

    def test_an_include_that_goes_down_passes(self):
        self.assertEqual([], self.layer_faults({
            "gateway/route/a.c": '#include "group/b.h"\n#include <sluice/consumer.h>\n',
            "gateway/group/b.h": '#include "observe/c.h"\n', "gateway/observe/c.h": "",
            "gateway/sdk/sluice/consumer.h": ""}))

    def test_an_include_that_goes_up_is_found(self):
        found = self.layer_faults({"gateway/group/a.c": '\n#include "route/b.h"\n',
                                   "gateway/route/b.h": ""})
        self.assertEqual(1, len(found))
        self.assertIn("a.c:2: group may not include route", found[0])

    def test_a_circle_of_headers_is_found(self):
        found = self.layer_faults({"gateway/group/a.h": '#include "group/b.h"\n',
                                   "gateway/group/b.h": '#include "group/a.h"\n'})
        self.assertEqual(1, len(found))
        self.assertIn("include each other", found[0])

    def test_a_folder_outside_the_order_is_found(self):
        self.assertIn("has no place", self.layer_faults({"gateway/extra/a.c": ""})[0])

    def test_a_consumer_that_includes_the_gateway_is_found(self):
        found = self.layer_faults({"plugins/x/x.c": '#include "group/group.h"\n',
                                   "gateway/group/group.h": ""})
        self.assertIn("x.c:1: a consumer includes", found[0])

    def test_a_long_function_is_found_and_a_long_table_is_not(self):
        body = "    work();\n" * 60
        top = self.tree(texts={"gateway/a.c": "int f(int a,\n      int b) {\n" + body + "}\n",
                               "gateway/b.c": "int t[] = {\n" + "    1,\n" * 90 + "};\n"})
        found = functions.check(top, {})
        self.assertEqual(1, len(found))
        self.assertIn("a.c:1: f has 63 lines", found[0])
        self.assertEqual([], functions.check(top, {"gateway/a.c: f": "a parser table"}))

    def test_an_allowance_that_nothing_needs_is_found(self):
        top = self.tree(texts={"gateway/a.c": "int f(void) {\n    return 1;\n}\n"})
        self.assertIn("take it out", functions.check(top, {"gateway/a.c: f": "none"})[0])

    def test_braces_in_strings_and_comments_do_not_count(self):
        text = 'int f(void) {\n    g("{", \'{\'); /* { */\n}\nint h(void) {\n}\n'
        self.assertEqual(["f", "h"], [name for name, _, _ in functions.functions(text)])

    def test_untidy_lines_are_found(self):
        top = self.tree(texts={"a.c": "int a;\t\nint b; \n// SPDX-License-Identifier: ISC"})
        found = "\n".join(files.check(top))
        for part in ("a.c:1: a tab", "a.c:2: blanks", "a.c:3: another licence", "no newline"):
            self.assertIn(part, found)

    def test_a_registry_address_in_a_lock_file_is_found(self):
        top = self.tree(texts={"package-lock.json": '{"resolved": "x"}\n'})
        self.assertIn("address of a registry", files.check(top)[0])

    def test_a_readme_whose_example_differs_is_found(self):
        top = self.tree(texts={"README.md": "```c\nint a;\n```\n[x](docs/none.md)\n",
                               "plugins/relay/relay.c": "int b;\n"})
        found = "\n".join(readme.check(top))
        self.assertIn("no C block", found)
        self.assertIn("docs/none.md is not there", found)

    def manual_faults(self, check, **texts):
        pages = {"packaging/man/sluice.yaml.5": ".It Ic listen\nprose: origins\n",
                 "packaging/man/sluice.8": ".Fl -test\n",
                 "packaging/man/sluice-consumer.3": ".Fn sluice_send conn\n"}
        faults = []
        check(self.tree(texts={**pages, **texts["texts"]}), faults)
        return "\n".join(faults)

    def test_a_word_that_the_manual_lacks_is_found(self):
        text = "listen:\n  - {port: 1}\nfile.dir: x\n# origins: y\noptions: {mine: z}\n"
        found = self.manual_faults(manual.check_conf, texts={"conf/a.yaml": text})
        self.assertIn("a.yaml:2: `port`", found)
        self.assertIn("a.yaml:4: `origins`", found)
        self.assertIn("a.yaml:5: `options`", found)
        self.assertEqual(3, len(found.splitlines()), found)

    def test_a_function_that_the_manual_lacks_is_found(self):
        found = self.manual_faults(manual.check_header, texts={
            "gateway/sdk/sluice/consumer.h": "static inline int sluice_send(x *y) {}\n"
                                             "static inline void *sluice_data(x *y) {}\n"
                                             "enum {\n    SLUICE_OK = 0\n};\n"
                                             "    void (*drain)(x *y) SLUICE_UNSET;\n"})
        for name in ("sluice_data", "SLUICE_OK", "drain"):
            self.assertIn(f"lacks {name}", found)
        self.assertNotIn("lacks sluice_send", found)

    def test_an_option_that_the_manual_lacks_is_found(self):
        source = '{"test", no_argument, NULL, 1}, {"odd", required_argument, NULL, 2}'
        found = self.manual_faults(manual.check_options, texts={"gateway/main.c": source})
        self.assertIn("lacks --odd", found)
        self.assertNotIn("--test", found)


if __name__ == "__main__":
    unittest.main()
