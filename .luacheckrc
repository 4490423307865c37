-- One source for the Lua of Wireshark up to 4.2 (5.2) and from 4.4 (5.4).
std = "lua52+lua54"
max_line_length = 124

-- Only these files touch Wireshark; all other modules are plain Lua.
files["plugin/certhash/fields.lua"].read_globals = { "ProtoExpert", "ProtoField", "base", "expert", "frametype" }
files["plugin/certhash/preferences.lua"].read_globals = { "Dir", "Pref", "report_failure" }
files["plugin/certhash/show.lua"].read_globals = { "ByteArray", "Dissector" }
files["plugin/certhash/carriers.lua"].read_globals = { "ByteArray", "Dissector", "DissectorTable", "Proto", "dissect_tcp_pdus" }
files["plugin/certhash.lua"].read_globals = {
    "Field", "Proto", "TextWindow",
    "apply_filter", "copy_to_clipboard",
    "get_version", "gui_enabled", "new_dialog", "redissect_packets", "register_menu", "register_packet_menu",
    "register_postdissector", "report_failure", "set_filter", "set_plugin_info",
    "MENU_TOOLS_UNSORTED",
}
