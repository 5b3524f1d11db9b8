"""The style checks find what they are for: each is shown a small tree with one fault."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import files  # noqa: E402
import functions  # noqa: E402
import layers  # noqa: E402
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


if __name__ == "__main__":
    unittest.main()
